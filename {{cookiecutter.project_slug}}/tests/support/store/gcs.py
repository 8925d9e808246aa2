"""The store of results as the tests see it: a bucket of an emulator of Google Cloud Storage, and a token server.

The token server checks that a request for a token is signed with the key that it knows; the emulator takes any token.
`python -m tests.support.store COMMAND…` runs a command beside them where no bucket is set: to try the project out.
"""

import json
import sys
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from google.cloud.storage.retry import DEFAULT_RETRY
from pydantic import SecretStr

from tests.support.servers import free_port, run_beside, serve

PREFIX = "{{ cookiecutter.package_name | upper }}_"
BUCKET = "results"
MISSING = {"results_bucket": "missing"}
"""Settings that name what is not there."""
FAILURES = 4
"""How many times in a row the store may fail to take a result, for it to be stored all the same."""


def start(folder: Path) -> dict[str, str]:
    """Start servers that keep their data in a folder; return the environment that leads to their bucket."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    emulator = [Path(sys.executable).with_name("gcp-storage-emulator"), "--data-dir", folder / "data"]
    options = ["start", "--quiet", "--host", "127.0.0.1", "--port", str(port), "--default-bucket", BUCKET]
    serve([*emulator, *options], port, folder / "log")
    url = f"http://127.0.0.1:{port}"
    # The emulator writes its list of objects with each of them, and would keep the deleted ones in it.
    keep_nothing = {"softDeletePolicy": {"retentionDurationSeconds": 0}}
    httpx.patch(f"{url}/storage/v1/b/{BUCKET}", json=keep_nothing).raise_for_status()
    return {
        # From a year before Python's end of life on, some versions of google-api-core warn in each process.
        "PYTHONWARNINGS": "ignore::FutureWarning:google.api_core._python_version_support",
        f"{PREFIX}RESULTS_BUCKET": BUCKET,
        f"{PREFIX}RESULTS_CREDENTIALS": _service_account(),
        f"{PREFIX}RESULTS_ENDPOINT": url,
    }


def _service_account(token_uri: str = "") -> str:
    """A service account's key, of one use: for the token server that is started here, unless another is given.

    A short one: Prefect's block reads and checks it for each record.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    pem = serialization.Encoding.PEM
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "tests",
            "private_key_id": "1",
            "private_key": private.decode(),
            # Without a name, for otherwise Google's client asks Google where this account may go.
            "client_email": "",
            "token_uri": token_uri or _token_server(public),
        }
    )


def _token_server(public_key: bytes) -> str:
    class Tokens(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            try:
                jwt.decode(form["assertion"][0], certs=public_key)  # type: ignore[no-untyped-call]
            except ValueError:
                status, answer = 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            else:
                status, answer = 200, {"access_token": "token", "token_type": "Bearer", "expires_in": "3600"}
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/token"


def own(place: str) -> dict[str, str]:
    """Return the environment of a process of the tests: a folder of its own, and a block."""
    return {f"{PREFIX}RESULTS_FOLDER": place, f"{PREFIX}RESULTS_BLOCK": place}


def wrong_key() -> dict[str, Any]:
    """Settings with which the store refuses everything."""
    known = json.loads(_settings().results_credentials.get_secret_value())
    return {"results_credentials": SecretStr(_service_account(known["token_uri"]))}


def through(url: str) -> dict[str, Any]:
    """Settings that reach the store by another URL."""
    return {"results_endpoint": url}


def endpoint() -> str:
    """The URL of the store."""
    url: str = _settings().results_endpoint
    return url


def be_impatient(patch: pytest.MonkeyPatch) -> None:
    """Let the client give up after seconds instead of minutes."""
    patch.setattr(DEFAULT_RETRY, "_initial", 0.05)
    patch.setattr(DEFAULT_RETRY, "_timeout", 3)


def secret() -> str:
    """What must not be shown."""
    key: str = json.loads(_settings().results_credentials.get_secret_value())["private_key"]
    return key.splitlines()[1]


def names() -> list[str]:
    """The records that are kept."""
    folder = f"{_settings().results_folder}/"
    found = _client().get(f"{_objects()}?prefix={quote(folder, safe='')}").raise_for_status().json()
    return [item["name"].removeprefix(folder) for item in found.get("items", ())]


def read(name: str) -> bytes:
    """A record."""
    return _client().get(f"{_object(name)}?alt=media").raise_for_status().content


def write(name: str, content: bytes) -> None:
    """Put something else in a record's place."""
    path = quote(f"{_settings().results_folder}/{name}", safe="")
    url = f"{_objects().replace('/storage/', '/upload/storage/')}?uploadType=media&name={path}"
    _client().post(url, content=content).raise_for_status()


def delete(name: str) -> None:
    """Remove a record."""
    _client().delete(_object(name)).raise_for_status()


@cache
def _client() -> httpx.Client:
    return httpx.Client()


def _objects() -> str:
    return f"{_settings().results_endpoint}/storage/v1/b/{BUCKET}/o"


def _object(name: str) -> str:
    return f"{_objects()}/{quote(_settings().results_folder + '/' + name, safe='')}"


def empty() -> None:
    """Remove all records."""
    for name in names():
        delete(name)


def _settings() -> Any:
    # Not before the tests' environment stands, for settings are read at their import.
    from {{ cookiecutter.package_name }}.durable.results import settings

    return settings


def _beside(folder: Path) -> dict[str, str]:
    # By a name of its own: the block of that name on a shared server leads to the real store.
    return {**start(folder), f"{PREFIX}RESULTS_BLOCK": f"{_settings().results_block}-local"}


if __name__ == "__main__":
    run_beside(_beside, _settings().results_bucket, "results_bucket", "gcs", "results")
