"""Several writers of the same keys at the same time: none waits for ever, and no write is lost."""

import random
from functools import partial
from multiprocessing.pool import ThreadPool
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, select

from {{ cookiecutter.package_name }}.durable import upserts as upsert_module
from {{ cookiecutter.package_name }}.durable.upserts import UpsertReport, database, upsert

from tests.support import sink
from tests.support.processes import FORKS

WRITERS = 4
WRITES = 12
KEYS = 60

things = Table(
    "things",
    MetaData(),
    Column("id", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("value", String),
)


def rows_of(writer: int, write: int) -> list[dict[str, Any]]:
    """What a writer writes at once: half of the keys, in any order, with versions that no other write has."""
    dice = random.Random(1000 * writer + write)
    version = (dice.randrange(1000) * WRITES + write) * WRITERS + writer
    keys = dice.sample(range(KEYS), KEYS // 2)
    return [{"id": f"key-{key}", "version": version, "value": f"{writer}-{write}"} for key in keys]


def write(writer: int, batch: int) -> UpsertReport:
    """Write all that a writer writes, in batches of so many rows."""
    upsert_module.BATCH = batch
    total = UpsertReport()
    for number in range(WRITES):
        with database().begin() as connection:
            total += upsert(connection, things, rows_of(writer, number), newer="version")
    return total


@pytest.mark.slow
@pytest.mark.parametrize("batch", [5000, 7], ids=["one batch", "several batches"])
def test_writers_of_the_same_keys_neither_deadlock_nor_lose_a_write(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upsert_module, "BATCH", batch)
    with database().begin() as connection:
        things.create(connection)
    newest: dict[str, tuple[int, str]] = {}
    for writer in range(WRITERS):
        for number in range(WRITES):
            for row in rows_of(writer, number):
                newest[row["id"]] = max(newest.get(row["id"], (-1, "")), (row["version"], row["value"]))
    if sink.WRITERS > 1:
        sink.release()
    with FORKS.Pool(WRITERS) if sink.WRITERS > 1 else ThreadPool(WRITERS) as pool:
        reports = pool.map_async(partial(write, batch=batch), range(WRITERS), chunksize=1).get(60)
    with database().connect() as connection:
        found = {name: (version, value) for name, version, value in connection.execute(select(things))}
    assert found == newest
    assert sum(report.inserted for report in reports) == KEYS
    rows = WRITERS * WRITES * (KEYS // 2)
    assert sum(report.inserted + report.updated + report.unchanged for report in reports) == rows


def test_threads_that_come_at_once_get_one_engine() -> None:
    sink.release()
    begin = Barrier(8)

    def engine(_: int) -> Engine:
        begin.wait()
        return database()

    with ThreadPool(8) as pool:
        assert len({*pool.map(engine, range(8), chunksize=1)}) == 1
