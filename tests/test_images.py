"""The image of a deployment has what the flow needs: its steps run here, and it is built where something can build."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from variants import ROOT, Answers

BUILD_TIMEOUT = 900.0
"""Seconds."""
LASTING = {"result_storage": "s3", "upsert": "postgres", "checkpoint": "database"}


def call(*command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_TIMEOUT,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def uv() -> str:
    """The program that the steps call."""
    found = shutil.which("uv") or shutil.which("uv", path=ROOT / ".uv" / "bin")
    return found or pytest.skip("no image is tried: uv is not here")


@pytest.mark.slow
@pytest.mark.parametrize("deployment", ["docker", "kubernetes"])
def test_the_steps_of_an_image_install_what_the_flow_needs(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], tmp_path: Path, uv: str, deployment: str
) -> None:
    project = copy(baked({"deployment": deployment, **LASTING}))
    locked = call(uv, "lock", folder=project)
    assert locked.returncode == 0, locked.stderr
    app = tmp_path / "app"
    app.mkdir()
    for line in (project / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            path = project / line.removeprefix("!")
            (shutil.copytree if path.is_dir() else shutil.copy)(path, app / path.name)
    steps = re.findall(r"^RUN uv (.*)", (project / "Dockerfile").read_text(), re.MULTILINE)
    assert len(steps) == 2
    for step in steps:
        done = call(uv, *shlex.split(step), folder=app)
        assert done.returncode == 0, done.stderr
    python = str(app / ".venv" / "bin" / "python")
    done = call(python, "-c", "import durable_flights.flows", folder=app)
    assert done.returncode == 0, done.stderr
    assert call(python, "-m", "pytest", "--version").returncode != 0, "tools of development are in the image"


@pytest.fixture(scope="module")
def builder() -> str:
    """The program that builds images here."""
    if shutil.which("docker") and call("docker", "info").returncode == 0:
        return "docker"
    if shutil.which("buildah"):
        return "buildah"
    pytest.skip("no image is built: neither a Docker engine nor buildah is here")


@pytest.mark.slow
@pytest.mark.parametrize("deployment", ["docker", "kubernetes"])
def test_an_image_holds_all_that_the_flow_needs(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], builder: str, uv: str, deployment: str
) -> None:
    project = copy(baked({"deployment": deployment, **LASTING}))
    base = (project / "Dockerfile").read_text().split("FROM ")[1].split()[0]
    pulled = call(builder, "pull", f"docker.io/library/{base}")
    if pulled.returncode != 0:
        pytest.skip(f"no image is built: {base} cannot be pulled")
    locked = call(uv, "lock", folder=project)
    assert locked.returncode == 0, locked.stderr
    name = f"durable-flights-{deployment}:tests"
    built = call(builder, "build", "--tag", name, ".", folder=project)
    assert built.returncode == 0, built.stdout + built.stderr
    commands = [["python", "-c", "import durable_flights.flows, os; assert os.getuid() == 10001"], ["touch", "var/x"]]
    try:
        for command in commands:
            done = inside(builder, name, command)
            assert done.returncode == 0, done.stdout + done.stderr
        assert inside(builder, name, ["touch", "src/x"]).returncode != 0, "the code can be written to"
    finally:
        call(builder, "rmi", "--force", name)


def inside(builder: str, name: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a new container of an image."""
    if builder == "docker":
        return call("docker", "run", "--rm", name, *command)
    container = call("buildah", "from", name).stdout.strip()
    try:
        return call("buildah", "run", container, "--", *command)
    finally:
        call("buildah", "rm", container)
