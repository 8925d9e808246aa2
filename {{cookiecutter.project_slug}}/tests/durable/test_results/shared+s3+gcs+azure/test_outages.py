"""A store that refuses, is away or fails for a while: what is said, and what becomes of a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import State, flow
from prefect.blocks.core import Block
from prefect.task_runners import ThreadPoolTaskRunner

from {{ cookiecutter.package_name }}.durable import checkpoints, flows, upserts
from {{ cookiecutter.package_name }}.durable.cache_keys import ACROSS_RUNS
from {{ cookiecutter.package_name }}.durable.errors import ResultsNotStoredError
from {{ cookiecutter.package_name }}.durable.probe import StoreError
from {{ cookiecutter.package_name }}.durable.results import RESULTS, register, settings, storage
from {{ cookiecutter.package_name }}.durable.tasks import durable_task, stored

from tests.support import store, toys
from tests.support.servers import Faults, faults
from tests.support.toy import load_toys

pytestmark = [pytest.mark.usefixtures("api"), pytest.mark.slow]

calls: list[int] = []


@durable_task(version="1")
def square(n: int) -> int:
    calls.append(n)
    return n * n


@flow
def squares(last: int) -> list[State[int]]:
    calls.clear()
    futures = square.with_options(result_storage=storage()).map(range(last))
    futures.wait()
    return [future.state for future in futures]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A way to change settings; afterwards the block is as it was."""
    store.be_impatient(monkeypatch)
    yield monkeypatch
    monkeypatch.undo()
    register(replace=True)
    if checkpoints.IN_STORE:
        # It takes the way to the store anew.
        checkpoints.status()


@pytest.fixture
def proxy(given: pytest.MonkeyPatch) -> Iterator[Faults]:
    """The store behind a proxy that can fail."""
    with faults(store.endpoint()) as proxy:
        change(given, **store.through(proxy.url))
        register()
        yield proxy


def change(patch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        patch.setitem(settings.__dict__, name, value)
    if endpoint := values.get("results_endpoint"):
        patch.setenv("STORAGE_EMULATOR_HOST", str(endpoint))


def test_wrong_key_is_said(given: pytest.MonkeyPatch) -> None:
    change(given, **store.wrong_key())
    with pytest.raises(StoreError, match=r"results cannot be kept in .* refuses it.*; check .*RESULTS_"):
        register()


def test_missing_place_is_said(given: pytest.MonkeyPatch) -> None:
    change(given, **store.MISSING)
    with pytest.raises(StoreError, match=r"results cannot be kept in .*missing.* has no such .*; make it, or set"):
        register()


def test_place_that_is_not_set_is_said(given: pytest.MonkeyPatch) -> None:
    change(given, **dict.fromkeys(store.MISSING, ""))
    with pytest.raises(StoreError, match=r"results cannot be kept: set .*RESULTS_"):
        register()


def test_store_without_a_route_is_said(given: pytest.MonkeyPatch) -> None:
    change(given, **store.through("http://127.0.0.1:9"))
    with pytest.raises(StoreError, match=r"results cannot be kept.* cannot be reached; check the network"):
        register()


def test_block_that_leads_elsewhere_is_replaced_only_when_that_is_asked_for(given: pytest.MonkeyPatch) -> None:
    change(given, results_folder=f"{settings.results_folder}-of-another")
    with pytest.raises(StoreError, match=r"leads to .*, the settings to .*-of-another: set .*RESULTS_BLOCK"):
        register()
    assert register(replace=True) == register()


def test_block_that_is_not_saved_is_said() -> None:
    Block.delete(RESULTS)
    try:
        with pytest.raises(StoreError, match=f"has no block {RESULTS}; save it with: make setup"):
            storage()
    finally:
        register()


def test_run_does_not_begin_where_the_store_is_away(proxy: Faults, tmp_path: Path) -> None:
    path = toys.chunks(tmp_path / "toys.txt", 2)
    proxy.away = True
    with pytest.raises(StoreError, match="results cannot be kept"):
        load_toys(path)
    proxy.away = False
    assert load_toys(path)["done"] == 2, "nothing was taken for done"


def test_run_whose_results_are_read_does_not_complete_where_the_store_goes_away(
    proxy: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Prefect 3.9 alone completes such a run, with an error in the log.
    threads: Any = ThreadPoolTaskRunner()  # which know of this test's place
    load = load_toys.with_options(task_runner=threads)
    path = toys.chunks(tmp_path / "toys.txt", 2)
    monkeypatch.setattr(flows, "register", lambda: "it goes away after that")
    proxy.away = True
    if checkpoints.IN_STORE:
        with pytest.raises(StoreError, match="marks cannot be listed"):
            load(path)
    elif checkpoints.REMEMBERS and upserts.WRITES:
        assert load(path)["done"] == 2, "the checkpoint says what is done: no run reads the results of chunks"
    else:
        with pytest.raises(ResultsNotStoredError, match="all 2 chunks are done, but the results of 2 could not"):
            load(path)
    proxy.away = False
    report = load(path)
    assert report["skipped"] + report["done"] == 2


def test_errors_for_a_while_are_ridden_out(proxy: Faults) -> None:
    proxy.methods = {"PUT", "POST"}
    proxy.failures = store.FAILURES
    assert all(map(stored, squares(1)))
    assert proxy.failures == 0, "the store has failed"
    assert len(store.names()) == 1


def test_result_that_was_not_stored_is_computed_again_when_the_store_is_back(proxy: Faults) -> None:
    proxy.failures = 1000
    assert not any(map(stored, squares(2)))
    proxy.failures = 0
    assert all(map(stored, squares(2)))
    assert sorted(calls) == [0, 1]


def test_run_takes_what_was_stored_before_the_store_failed(proxy: Faults) -> None:
    squares(2)
    assert all(map(stored, squares(4)))
    assert sorted(calls) == ([2, 3] if ACROSS_RUNS else [0, 1, 2, 3])


def test_no_secret_is_shown_or_stored_with_results() -> None:
    squares(1)
    records = [store.read(name).decode() for name in store.names()]
    assert records
    for text in (repr(settings), repr(storage()), str(storage()), *records):
        assert store.secret() not in text
