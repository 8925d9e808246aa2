"""Flows with a planted fault each, which the proof has to find, and one without."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import Column, Integer, String, Table, delete, insert, schema, update

from {{ cookiecutter.package_name }}.durable import (
    Counts,
    RunReport,
    Step,
    database,
    durable_flow,
    durable_task,
    metadata,
    run_chunks,
    upsert,
)
from {{ cookiecutter.package_name }}.durable.settings import settings

from .parts import URL, Part, parts

loaded = Table(
    "planted", metadata, Column("id", String(40), primary_key=True), Column("times", Integer, nullable=False)
)
numbered = Table(
    "planted_numbered",
    metadata,
    Column("number", Integer, schema.Sequence("planted_numbers"), primary_key=True),
    Column("part", Integer, nullable=False),
)
appended = Table("planted_rows", metadata, Column("number", Integer, nullable=False))


def write(step: Step, rows: Sequence[dict[str, Any]]) -> Counts | None:
    with step as connection:
        if connection is None:
            return None
        upsert(connection, loaded, rows)
    return {"read": len(rows)}


def row(part: Part) -> dict[str, Any]:
    return {"id": str(part.number), "times": 1}


def note(what: object) -> None:
    """Write a line into a log, which is no outcome: it has a time."""
    for log in (settings.home / "log", *map(Path, os.environ.get("PLANTED_LOG", "").split())):
        with log.open("a") as file:
            file.write(f"{time.time()} {what}\n")


@durable_task(version="1")
def soundly(part: Part, step: Step) -> Counts | None:
    note(part.number)
    httpx.put(URL, json={"part": part.number})
    with step as connection:
        if connection is None:
            return None
        upsert(connection, loaded, [row(part)])
        connection.execute(insert(numbered).values(part=part.number))
        step.send(URL, part.label, {"part": part.number})
    return {"read": 1}


@durable_flow(name="load-soundly")
def load_soundly() -> RunReport:
    note("a run")
    return run_chunks(soundly, parts(), job="parts")


@durable_task(version="1")
def appended_file(part: Part, step: Step) -> Counts | None:
    with (settings.home / "appended").open("a") as file:
        file.write(f"{part.number}\n")
    return write(step, [row(part)])


@durable_flow(name="load-appended-file")
def load_appended_file() -> RunReport:
    return run_chunks(appended_file, parts(), job="parts")


@durable_task(version="1")
def appended_rows(part: Part, step: Step) -> Counts | None:
    # As pandas does with `to_sql(…, if_exists="append")`: on a connection of its own.
    with database().begin() as connection:
        connection.execute(insert(appended).values(number=part.number))
    return write(step, [row(part)])


@durable_flow(name="load-appended-rows")
def load_appended_rows() -> RunReport:
    return run_chunks(appended_rows, parts(), job="parts")


@durable_task(version="1")
def before_step(part: Part, step: Step) -> Counts | None:
    with database().begin() as connection:
        if not connection.execute(update(loaded).where(loaded.c.id == "all").values(times=loaded.c.times + 1)).rowcount:
            connection.execute(insert(loaded).values(id="all", times=1))
    return write(step, [row(part)])


@durable_flow(name="load-before-step")
def load_before_step() -> RunReport:
    return run_chunks(before_step, parts(), job="parts")


@durable_task(version="1")
def random_key(part: Part, step: Step) -> Counts | None:
    return write(step, [row(part) | {"id": uuid4().hex}])


@durable_flow(name="load-random-key")
def load_random_key() -> RunReport:
    return run_chunks(random_key, parts(), job="parts")


@durable_task(version="1")
def second_transaction(part: Part, step: Step) -> Counts | None:
    written = write(step, [row(part)])
    if written:
        with database().begin() as connection:
            upsert(connection, loaded, [row(part) | {"id": f"more {part.number}"}])
    return written


@durable_flow(name="load-second-transaction")
def load_second_transaction() -> RunReport:
    return run_chunks(second_transaction, parts(), job="parts")


@durable_task(version="1")
def swapped(part: Part, step: Step) -> Counts | None:
    written = write(step, [row(part)])
    if written:
        with database().begin() as connection:
            connection.execute(delete(loaded).where(loaded.c.id == str(part.number)))
        for times in (0, 1):
            with database().begin() as connection:
                upsert(connection, loaded, [row(part) | {"times": times}])
    return written


@durable_flow(name="load-swapped")
def load_swapped() -> RunReport:
    return run_chunks(swapped, parts(), job="parts")


@durable_flow(name="load-time-in-key")
def load_time_in_key() -> RunReport:
    return run_chunks(soundly, parts(f" at {time.time()}"), job="parts")


@durable_task(version="1")
def without_key(part: Part, step: Step) -> Counts | None:
    httpx.post(URL, json={"part": part.number})
    return write(step, [row(part)])


@durable_flow(name="load-without-key")
def load_without_key() -> RunReport:
    return run_chunks(without_key, parts(), job="parts")
