"""Rate limits: the Prefect server keeps them, and calls wait for their turn."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import httpx
import pytest
from prefect import get_client
from prefect.exceptions import ObjectNotFound

from {{ cookiecutter.package_name }}.durable import RateLimit, limits
from {{ cookiecutter.package_name }}.durable.settings import PROJECT

pytestmark = pytest.mark.usefixtures("api")


@pytest.fixture
def limit() -> Iterator[RateLimit]:
    # Processes of the tests share a server.
    made = RateLimit(f"api-{os.getpid()}", per_second=4)
    yield made
    del RateLimit.every[made.name]
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        client.delete_global_concurrency_limit_by_name(made.full_name)


def rate(limit: RateLimit) -> tuple[int, float]:
    """The slots of a limit on the server, and how many of them are free again in a second."""
    with get_client(sync_client=True) as client:
        found = client.read_global_concurrency_limit_by_name(limit.full_name)
        return found.limit, found.slot_decay_per_second


def test_first_call_creates_the_limit(limit: RateLimit) -> None:
    assert limit.full_name == f"{PROJECT}-api-{os.getpid()}"
    limit.wait()
    assert rate(limit) == (4, 4)


def test_calls_wait_for_their_turn(limit: RateLimit) -> None:
    limit.wait()
    began = time.monotonic()
    for _ in range(8):
        limit.wait()
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("refusals", [2, 20])
def test_busy_server_is_asked_again_soon(limit: RateLimit, monkeypatch: pytest.MonkeyPatch, refusals: int) -> None:
    plain = httpx.HTTPTransport.handle_request
    left = [503] * refusals
    seconds: list[float] = []
    patient: list[str] = []

    def busy(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        refused = request.url.path.endswith("/increment") and left
        return httpx.Response(left.pop()) if refused else plain(self, request)

    limit.wait()
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", busy)
    monkeypatch.setattr("prefect.client.base.time", SimpleNamespace(**vars(time) | {"sleep": seconds.append}))
    monkeypatch.setattr(limits, "rate_limit", patient.append)
    limit.wait()
    assert seconds
    assert max(seconds) < 0.2, "Prefect 3.9 waits for 2 s by itself"
    assert patient == ([] if refusals == 2 else [limit.full_name]), "it goes on where the server stays busy"


def test_what_a_person_has_set_counts_until_it_is_put_back(limit: RateLimit) -> None:
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(limit.full_name, 100, 50)
    limit.wait()
    assert rate(limit) == (100, 50)
    assert limit.prepare() == f"{limit.full_name}: 4 calls a second"
    assert rate(limit) == (4, 4)


def test_server_is_prepared_for_all_limits(
    limit: RateLimit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from {{ cookiecutter.package_name }}.durable import heartbeats
    from {{ cookiecutter.package_name }}.durable.cli import prepare_server

    # Other tests look for the project's own.
    monkeypatch.setattr(heartbeats, "AUTOMATION", f"{PROJECT}-limits")
    assert prepare_server() == 0
    assert f"{limit.full_name}: 4 calls a second\n" in capsys.readouterr().out
    assert rate(limit) == (4, 4)


def test_limit_without_calls_is_refused() -> None:
    with pytest.raises(ValueError, match="allow some"):
        RateLimit("none-api", per_second=0)
