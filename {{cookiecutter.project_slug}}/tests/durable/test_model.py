"""Upserts and steps in any order do what a dict and a set would do."""

from contextlib import suppress
from dataclasses import asdict
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Column, Integer, MetaData, String, Table, select

from {{ cookiecutter.package_name }}.durable import checkpoints, tables
from {{ cookiecutter.package_name }}.durable import upserts as upsert_module
from {{ cookiecutter.package_name }}.durable.checkpoints import Checkpoint
from {{ cookiecutter.package_name }}.durable.upserts import UpsertReport, database, upsert

from tests.support import sink

pytestmark = [pytest.mark.usefixtures("api")] if checkpoints.IN_STORE else []

Row = dict[str, Any]

things = Table(
    "things",
    MetaData(),
    Column("name", String, primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer),
    Column("value", String),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "B", "ä"]),
            "part": st.integers(0, 1),
            "version": st.integers(0, 3),
            "value": st.sampled_from([None, "", "x"]),
        }
    ),
    max_size=9,
)
BATCHES = st.integers(1, 9)
NEWER = st.sampled_from([None, "version"])
JOBS = st.sampled_from(["one", "two"])
KEYS = st.sampled_from("abc")


def expected(table: dict[tuple[str, int], Row], rows: list[Row], newer: str | None, size: int) -> UpsertReport:
    """Do in a dict what the upsert does in a table."""
    report = {"inserted": 0, "updated": 0, "unchanged": 0, "duplicates": 0}
    for start in range(0, len(rows), size):
        batch: dict[tuple[str, int], Row] = {}
        for row in rows[start : start + size]:
            key = row["name"], row["part"]
            if not newer or key not in batch or batch[key]["version"] <= row["version"]:
                batch[key] = row
        report["duplicates"] += len(rows[start : start + size]) - len(batch)
        for key, row in batch.items():
            if key not in table:
                what = "inserted"
            elif table[key] != row and (not newer or table[key]["version"] <= row["version"]):
                what = "updated"
            else:
                what = "unchanged"
            report[what] += 1
            if what != "unchanged":
                table[key] = row
    return UpsertReport(**report)


class Model(RuleBasedStateMachine):
    """A table, as a dict by key, and what is done of each job, as a set: nothing, where no checkpoint remembers it."""

    @initialize()
    def start(self) -> None:
        sink.empty()
        with database().begin() as connection:
            things.create(connection)
        self.table: dict[tuple[str, int], Row] = {}
        tables.create(database())
        self.done: dict[str, set[str]] = {"one": set(), "two": set()}
        for job in self.done:
            Checkpoint(job).reset()

    @rule(rows=ROWS, newer=NEWER, size=BATCHES)
    def write(self, rows: list[Row], newer: str | None, size: int) -> None:
        with patch.object(upsert_module, "BATCH", size), database().begin() as connection:
            report = upsert(connection, things, rows, newer=newer)
        assert asdict(report) == asdict(expected(self.table, rows, newer, size))

    @rule(rows=ROWS, size=BATCHES, wrong=st.sampled_from([{"name": None}, {"version": "1"}, {"more": 1}]))
    def write_what_is_refused(self, rows: list[Row], size: int, wrong: Row) -> None:
        bad: Row = {"name": "a", "part": 0, "version": 1, "value": "refused", **wrong}
        with (
            patch.object(upsert_module, "BATCH", size),
            pytest.raises(ValueError, match=r"has no value|str where int|column"),
            database().begin() as connection,
        ):
            upsert(connection, things, [*rows, bad])

    @rule(rows=ROWS)
    def write_and_roll_back(self, rows: list[Row]) -> None:
        with suppress(ZeroDivisionError), database().begin() as connection:
            upsert(connection, things, rows)
            raise ZeroDivisionError

    @rule()
    def open_anew(self) -> None:
        sink.release()

    @rule(job=JOBS, key=KEYS, rows=ROWS)
    def do_a_step(self, job: str, key: str, rows: list[Row]) -> None:
        with Checkpoint(job).step(key) as connection:
            assert (connection is None) == (key in self.done[job])
            if connection is not None:
                report = upsert(connection, things, rows)
        if key not in self.done[job]:
            assert report == expected(self.table, rows, None, 100)
            if checkpoints.REMEMBERS:
                self.done[job].add(key)

    @rule(job=JOBS, key=KEYS, rows=ROWS)
    def fail_in_a_step(self, job: str, key: str, rows: list[Row]) -> None:
        with suppress(ZeroDivisionError), Checkpoint(job).step(key) as connection:
            if connection is not None:
                upsert(connection, things, rows)
            raise ZeroDivisionError

    @rule(job=JOBS, keys=st.lists(KEYS))
    def ask_what_remains(self, job: str, keys: list[str]) -> None:
        left = [key for key in dict.fromkeys(keys) if key not in self.done[job]]
        assert Checkpoint(job).remaining(keys) == left

    @rule(job=JOBS)
    def forget_a_job(self, job: str) -> None:
        known = Checkpoint(job).reset()
        assert known or not self.done[job]
        assert not Checkpoint(job).reset()
        self.done[job] = set()

    @invariant()
    def what_is_done_is_known(self) -> None:
        assert {job: Checkpoint(job).done() for job in self.done} == self.done

    @invariant()
    def table_is_as_expected(self) -> None:
        with database().begin() as connection:
            found = [dict(row) for row in connection.execute(select(things)).mappings()]
        assert {(row["name"], row["part"]): row for row in found} == self.table
        assert len(found) == len(self.table)


def test_any_sequence_of_operations_does_what_the_model_does() -> None:
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
