"""The image of a deployment has what the flow needs: its steps run here, and it is built and run by `make test-all`."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from variants import Answers, only_all

BUILD_TIMEOUT = 900.0
"""Seconds."""
LASTING = {"result_storage": "s3", "upsert": "postgres", "checkpoint": "database"}
STAND_IN = """\
FROM scratch
ADD base.tar /
ADD certificates /etc/ssl/certs/ca-certificates.crt
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN rm /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s /usr/bin/python3 /usr/local/bin/python
"""
"""Debian's Python in the place of the published image: no other packages, and this machine's certificates."""


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


@pytest.mark.rotating
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
    done = call(python, "-c", "from durable_flights.durable.discovery import flows; print(*flows())", folder=app)
    assert done.returncode == 0, done.stderr
    assert call(python, "-m", "pytest", "--version").returncode != 0, "tools of development are in the image"


@pytest.fixture(scope="module")
def engine(baked: Callable[[Answers], Path]) -> Iterator[list[str]]:
    """The command of what builds and runs images here, with their base, or with a stand-in for it."""
    dockerfile = (baked({"deployment": "docker"}) / "Dockerfile").read_text()
    base = "docker.io/library/" + dockerfile.split("FROM ")[1].split()[0]
    if shutil.which("docker") and call("docker", "pull", base).returncode == 0:
        yield ["docker"]
        return
    if not shutil.which("buildah"):
        pytest.skip(f"no image is built: no Docker engine here pulls {base}, and buildah is missing")
    with tempfile.TemporaryDirectory() as folder:
        # A store of its own: no other build takes the stand-in for the published image.
        store = [f"--root={folder}/images", f"--runroot={folder}/run"]
        buildah = ["env", "BUILDAH_ISOLATION=chroot", "BUILDAH_FORMAT=docker", "buildah", *store]
        try:
            if call(*buildah, "pull", base).returncode != 0:
                if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
                    pytest.skip(f"no image is built: {base} cannot be pulled, and a stand-in takes root and mmdebstrap")
                stand_in(buildah, base, Path(folder, "base"))
            yield buildah
        finally:
            call(*buildah, "rm", "--all")
            call(*buildah, "rmi", "--all", "--force")


def stand_in(buildah: list[str], base: str, folder: Path) -> None:
    """Build an image with the name of the base from Debian's packages; it finds the registry that this machine does."""
    folder.mkdir()
    packages = "--include=ca-certificates,python3-pip,python3-venv"
    release = base.rpartition("-")[2]
    few = "--aptopt=APT::Install-Recommends false"
    made = call("mmdebstrap", "--variant=minbase", few, packages, release, str(folder / "base.tar"))
    assert made.returncode == 0, made.stderr
    shutil.copy(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"), folder / "certificates")
    (folder / "Containerfile").write_text(STAND_IN)
    # By name: what they say may be secret.
    indexes = [f"--env={name}" for name in os.environ if re.match(r"(PIP|UV)_.*INDEX", name)]
    built = call(*buildah, "build", *indexes, f"--tag={base}", ".", folder=folder)
    assert built.returncode == 0, built.stderr
    (folder / "base.tar").unlink()


@pytest.mark.slow
@only_all
def test_an_image_holds_all_that_the_flow_needs(
    baked: Callable[[Answers], Path], tmp_path: Path, engine: list[str], uv: str
) -> None:
    """Both kinds in one test: a stand-in for their base takes a minute, and belongs to one process."""
    for deployment, answers in {"docker": {}, "kubernetes": LASTING}.items():
        project = shutil.copytree(baked({"deployment": deployment, **answers}), tmp_path / deployment)
        locked = call(uv, "lock", folder=project)
        assert locked.returncode == 0, locked.stderr
        with image(engine, project) as run:
            done = run("python", "-c", f"import prefect_{deployment}, os; print(os.getuid())")
            assert (done.returncode, done.stdout) == (0, "10001\n"), done.stderr
            assert "No module named pytest" in run("python", "-m", "pytest").stderr, "tools of development are in it"
            assert run("touch", "var/x").returncode == 0
            assert "Permission denied" in run("touch", "src/x").stderr, "the code can be written to"
            if deployment == "docker":
                done = run("python", "-m", "durable_flights", "run")
                assert done.returncode == 0, done.stdout + done.stderr
                assert "2001 inserted" in done.stdout + done.stderr


@contextmanager
def image(engine: list[str], project: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Build the image of a project; yield what runs a command in a new container of it; remove it."""
    name = f"durable-flights-tests-{uuid4().hex}"
    never = [] if engine == ["docker"] else ["--pull=never"]
    built = call(*engine, "build", *never, f"--tag={name}", ".", folder=project)
    assert built.returncode == 0, built.stdout + built.stderr

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        if not never:
            return call(*engine, "run", "--rm", name, *command)
        container = call(*engine, "from", *never, name).stdout.strip()
        try:
            return call(*engine, "run", container, "--", *command)
        finally:
            call(*engine, "rm", container)

    try:
        yield run
    finally:
        call(*engine, "rmi", "--force", name)
