"""Flows with a planted fault each, which the proof has to find, and one without."""

import os
import time
from pathlib import Path
from uuid import uuid4

import httpx

from {{ cookiecutter.package_name }}.durable import (
    Counts,
    RunReport,
    Step,
    durable_flow,
    durable_task,
    run_chunks,
)
from {{ cookiecutter.package_name }}.durable.settings import settings

from .parts import URL, Part, parts


def note(what: object) -> None:
    """Write a line into a log, which is no outcome: it has a time."""
    for log in (settings.home / "log", *map(Path, os.environ.get("PLANTED_LOG", "").split())):
        with log.open("a") as file:
            file.write(f"{time.time()} {what}\n")


@durable_task(version="1")
def soundly(part: Part, step: Step) -> Counts:
    note(part.number)
    with step:
        httpx.post(URL, json={"part": part.number}, headers={"Idempotency-Key": f"part {part.number}"})
        httpx.put(URL, json={"part": part.number})
    return {"read": 1}


@durable_flow(name="load-soundly")
def load_soundly() -> RunReport:
    note("a run")
    return run_chunks(soundly, parts(), job="parts")


@durable_task(version="1")
def appended_file(part: Part, step: Step) -> Counts:
    with step, (settings.home / "appended").open("a") as file:
        file.write(f"{part.number}\n")
    return {"read": 1}


@durable_flow(name="load-appended-file")
def load_appended_file() -> RunReport:
    return run_chunks(appended_file, parts(), job="parts")


@durable_task(version="1")
def random_key(part: Part, step: Step) -> Counts:
    with step:
        httpx.post(URL, json={"part": part.number}, headers={"Idempotency-Key": uuid4().hex})
    return {"read": 1}


@durable_flow(name="load-random-key")
def load_random_key() -> RunReport:
    return run_chunks(random_key, parts(), job="parts")


@durable_flow(name="load-time-in-key")
def load_time_in_key() -> RunReport:
    return run_chunks(soundly, parts(f" at {time.time()}"), job="parts")


@durable_task(version="1")
def without_key(part: Part, step: Step) -> Counts:
    with step:
        httpx.post(URL, json={"part": part.number})
    return {"read": 1}


@durable_flow(name="load-without-key")
def load_without_key() -> RunReport:
    return run_chunks(without_key, parts(), job="parts")
