"""The store of results as the tests see it: a container of Azurite, Microsoft's emulator, which checks signatures.

Azurite is a package of npm and needs Node. It is installed into the environment of the tests, once.
`python -m tests.support.store COMMAND…` runs a command beside it where no container is set: to try the project out.
"""

import asyncio
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob import BlobServiceClient, ContainerClient
from filelock import FileLock
from pydantic import SecretStr

from tests.support import UnavailableError
from tests.support.servers import free_port, run_beside, serve

PREFIX = "{{ cookiecutter.package_name | upper }}_"
CONTAINER = "results"
AZURITE = "3.35.0"
# Azurite's own account and key, which Microsoft documents.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
MISSING = {"results_container": "missing"}
"""Settings that name what is not there."""
FAILURES = 3
"""How many times in a row the store may fail to take a result, for it to be stored all the same."""


def start(folder: Path) -> dict[str, str]:
    """Start a server that keeps its data in a folder; return the environment that leads to its container.

    Raises:
        UnavailableError: there is no Node, or no way to Azurite.
    """
    port = free_port()
    options = ["--skipApiVersionCheck", "--disableTelemetry", "--silent", "--location", folder / "data"]
    serve([*_azurite(), *options, "--blobPort", str(port)], port, folder / "log")
    connection = _connection(f"http://127.0.0.1:{port}")
    with BlobServiceClient.from_connection_string(connection) as account, suppress(ResourceExistsError):
        account.create_container(CONTAINER)
    return {f"{PREFIX}RESULTS_CONTAINER": CONTAINER, f"{PREFIX}RESULTS_CONNECTION_STRING": connection}


def _azurite() -> list[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        raise UnavailableError("Azurite needs Node and npm, which are not installed")
    place = Path(sys.prefix) / f"azurite-{AZURITE}"
    program = place / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    with FileLock(f"{place}.lock"):
        if not program.exists():
            install = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(place)]
            done = subprocess.run([*install, f"azurite@{AZURITE}"], capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(place, ignore_errors=True)
                raise UnavailableError(f"Azurite cannot be installed: {done.stderr.partition(chr(10))[0]}")
    return [node, str(program)]


def _connection(url: str, key: str = KEY) -> str:
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={url}/{ACCOUNT};"


def own(place: str) -> dict[str, str]:
    """Return the environment of a process of the tests: a folder of its own, and a block."""
    return {f"{PREFIX}RESULTS_FOLDER": place, f"{PREFIX}RESULTS_BLOCK": place}


def wrong_key() -> dict[str, Any]:
    """Settings with which the store refuses everything."""
    return {"results_connection_string": SecretStr(_connection(endpoint(), "A" * 86 + "=="))}


def through(url: str) -> dict[str, Any]:
    """Settings that reach the store by another URL."""
    return {"results_connection_string": SecretStr(_connection(url))}


def endpoint() -> str:
    """The URL of the store."""
    text: str = _settings().results_connection_string.get_secret_value()
    return text.split("BlobEndpoint=")[1].removesuffix(f"/{ACCOUNT};")


def be_impatient(patch: pytest.MonkeyPatch) -> None:
    """Let the client wait less long between its own tries; their number stays."""
    patch.setattr(AioHttpTransport, "sleep", lambda *_: asyncio.sleep(0.05))


def secret() -> str:
    """What must not be shown."""
    return KEY


def names() -> list[str]:
    """The records that are kept."""
    folder = f"{_settings().results_folder}/"
    with _container() as container:
        return [blob.name.removeprefix(folder) for blob in container.list_blobs(folder)]


def read(name: str) -> bytes:
    """A record."""
    with _container() as container:
        return container.download_blob(f"{_settings().results_folder}/{name}").readall()


def write(name: str, content: bytes) -> None:
    """Put something else in a record's place."""
    with _container() as container:
        container.upload_blob(f"{_settings().results_folder}/{name}", content, overwrite=True)


def delete(name: str) -> None:
    """Remove a record."""
    with _container() as container:
        container.delete_blob(f"{_settings().results_folder}/{name}")


def empty() -> None:
    """Remove all records."""
    for name in names():
        delete(name)


def _settings() -> Any:
    # Not before the tests' environment stands, for settings are read at their import.
    from {{ cookiecutter.package_name }}.durable.results import settings

    return settings


def _container() -> ContainerClient:
    connection = _settings().results_connection_string.get_secret_value()
    return ContainerClient.from_connection_string(connection, CONTAINER)


def _beside(folder: Path) -> dict[str, str]:
    # By a name of its own: the block of that name on a shared server leads to the real store.
    return {**start(folder), f"{PREFIX}RESULTS_BLOCK": f"{_settings().results_block}-local"}


if __name__ == "__main__":
    run_beside(_beside, _settings().results_container, "results_container", "azure", "results")
