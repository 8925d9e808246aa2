"""Ray: a cluster that is there already."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.durable.settings import PREFIX, ROOT

from tests.support import toys
from tests.support.processes import TIMEOUT

pytestmark = [pytest.mark.usefixtures("api"), pytest.mark.slow]
COMMAND_LINE = """
from tests.support import toys
from {{ cookiecutter.package_name }}.durable.cli import main

main()
"""


def run_on(address: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Load a source of toys with the command line, in a process of its own."""
    environment = os.environ | {f"{PREFIX}CLUSTER_ADDRESS": address}
    command = [sys.executable, "-c", COMMAND_LINE, "run", toys.FLOW, str(path)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cluster ask for a token, and programs send it."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """A cluster, with its addresses: for programs of its machine, and for those of others."""
    port, client = free_port(), free_port()
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=1"]
    command += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--ray-client-server-port={client}"]
    command += ["--include-dashboard=false", "--disable-usage-stats"]
    # With it, the process that gRPC forks for a program on another machine dies now and then.
    environment = os.environ | {"GRPC_ENABLE_FORK_SUPPORT": "false"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + TIMEOUT
        while not (answers(port) and answers(client)):
            assert time.monotonic() < deadline, "the cluster has not started"
            time.sleep(0.1)
        yield {"near": f"127.0.0.1:{port}", "far": f"ray://127.0.0.1:{client}"}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# It starts three programs and a cluster, which takes long on a busy machine.
@pytest.mark.timeout(900)
def test_cluster_that_is_there_does_the_work_and_stays(tmp_path: Path) -> None:
    with cluster() as addresses:
        for name, address in addresses.items():
            done = run_on(address, toys.chunks(tmp_path / f"{name}.txt", 3))
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[0] == f"{toys.FLOW}/{name}: 3 chunks, 0 skipped, 3 done"
