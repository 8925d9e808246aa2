"""The example of `docs/outbox.md` does what the page says of it."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import free_port
from projects import path_of
from variants import ROOT, Answers

PAGE = (ROOT / "docs" / "outbox.md").read_text(encoding="utf-8")
FLOW, RECEIVER = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
RECEIVED, SAID, STATUS = re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.rotating
def test_example_sends_each_order_once_and_says_which_was_refused(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], environment: dict[str, str], tmp_path: Path
) -> None:
    project = copy(baked({"example": "none"}))
    (project / "src/durable_flights/flows/shop.py").write_text(FLOW, encoding="utf-8")
    port = free_port()
    assert RECEIVER.count("8765") == FLOW.count("8765") == 1
    script, printed = tmp_path / "receiver.py", tmp_path / "printed"
    script.write_text(RECEIVER.replace("8765", str(port)), encoding="utf-8")
    ours = {
        "PYTHONPATH": path_of(project),
        "DURABLE_FLIGHTS_HOME": str(tmp_path / "var"),
        "DURABLE_FLIGHTS_SHOP_URL": f"http://127.0.0.1:{port}/orders",
        "DURABLE_FLIGHTS_SHOP_TOKEN": "hush",
    }

    def do(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "durable_flights", *arguments]
        return subprocess.run(
            command, cwd=project, env={**environment, **ours}, capture_output=True, text=True, check=False
        )

    with printed.open("w") as output, subprocess.Popen([sys.executable, script], stdout=output, stderr=output) as shop:
        try:
            while not listens(port):
                assert shop.poll() is None, printed.read_text()
                time.sleep(0.05)
            first = do("run", "load-shop")
            again = do("run", "load-shop")
            status = do("status")
        finally:
            shop.kill()
    assert first.returncode == again.returncode == 1
    assert SAID in first.stderr
    assert SAID in again.stderr
    assert STATUS in status.stdout
    received = [line for line in printed.read_text().splitlines() if re.fullmatch(r"\d \w+", line)]
    assert sorted(received) == RECEIVED.splitlines()
    assert received.index("1 ada") < received.index("3 ada")
