"""The store of results as the tests see it: a bucket of an S3 server of their own, rclone's, which checks signatures.

`python -m tests.support.store COMMAND…` runs a command beside such a server where no bucket is set: to try the project
out.
"""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from pydantic import SecretStr

from tests.support.servers import free_port, run_beside, serve

PREFIX = "{{ cookiecutter.package_name | upper }}_"
BUCKET = "results"
ACCESS_KEY, SECRET_KEY = "tests", "of-no-worth-elsewhere"
MISSING = {"results_bucket": "missing"}
"""Settings that name what is not there."""
FAILURES = 6
"""How many times in a row the store may fail to take a result, for it to be stored all the same."""


def start(folder: Path) -> dict[str, str]:
    """Start a server that keeps its data in a folder; return the environment that leads to its bucket."""
    (folder / "data" / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    rclone = [Path(sys.executable).with_name("rclone"), "--config", "", "serve", "s3"]
    options = ["--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--addr", f"127.0.0.1:{port}"]
    serve([*rclone, *options, folder / "data"], port, folder / "log")
    return {
        f"{PREFIX}RESULTS_BUCKET": BUCKET,
        f"{PREFIX}RESULTS_ACCESS_KEY": ACCESS_KEY,
        f"{PREFIX}RESULTS_SECRET_KEY": SECRET_KEY,
        f"{PREFIX}RESULTS_REGION": "us-east-1",
        f"{PREFIX}RESULTS_ENDPOINT": f"http://127.0.0.1:{port}",
    }


def own(place: str) -> dict[str, str]:
    """Return the environment of a process of the tests: a folder of its own, and a block."""
    return {f"{PREFIX}RESULTS_FOLDER": place, f"{PREFIX}RESULTS_BLOCK": place}


def wrong_key() -> dict[str, Any]:
    """Settings with which the store refuses everything."""
    return {"results_secret_key": SecretStr("another")}


def through(url: str) -> dict[str, Any]:
    """Settings that reach the store by another URL."""
    return {"results_endpoint": url}


def endpoint() -> str:
    """The URL of the store."""
    url: str = _settings().results_endpoint
    return url


def be_impatient(patch: pytest.MonkeyPatch) -> None:
    """Let the client wait less long between its own tries; their number stays."""
    patch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.05)


def secret() -> str:
    """What must not be shown."""
    return SECRET_KEY


def names() -> list[str]:
    """The records that are kept."""
    folder = f"{_settings().results_folder}/"
    pages = _client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=folder)
    return [item["Key"].removeprefix(folder) for page in pages for item in page.get("Contents", ())]


def read(name: str) -> bytes:
    """A record."""
    found: bytes = _client().get_object(Bucket=BUCKET, Key=f"{_settings().results_folder}/{name}")["Body"].read()
    return found


def write(name: str, content: bytes) -> None:
    """Put something else in a record's place."""
    _client().put_object(Bucket=BUCKET, Key=f"{_settings().results_folder}/{name}", Body=content)


def delete(name: str) -> None:
    """Remove a record."""
    _client().delete_object(Bucket=BUCKET, Key=f"{_settings().results_folder}/{name}")


def empty() -> None:
    """Remove all records."""
    for name in names():
        delete(name)


def _settings() -> Any:
    # Not before the tests' environment stands, for settings are read at their import.
    from {{ cookiecutter.package_name }}.durable.results import settings

    return settings


def _client() -> Any:
    return _client_of(_settings().results_endpoint)


@cache
def _client_of(endpoint_url: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )


def _beside(folder: Path) -> dict[str, str]:
    # By a name of its own: the block of that name on a shared server leads to the real store.
    return {**start(folder), f"{PREFIX}RESULTS_BLOCK": f"{_settings().results_block}-local"}


if __name__ == "__main__":
    run_beside(_beside, _settings().results_bucket, "results_bucket", "s3", "results")
