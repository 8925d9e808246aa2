"""The temporary server: it ends with its parent, however that one ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

SCRIPT = """
import time
from {{ cookiecutter.package_name }}.server import server

with server() as url:
    print(url, flush=True)
    time.sleep(600)
"""


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


def test_server_does_not_outlive_a_killed_parent() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout
    url = process.stdout.readline().strip()
    assert answers(url)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not answers(url)


def test_nothing_is_left_in_the_home_but_the_log(home: Path) -> None:
    assert [path.name for path in home.iterdir()] == []
