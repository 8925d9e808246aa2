"""The flow over a feed: it writes what has changed to a file, and its results are stored."""

import json
from datetime import timedelta
from pathlib import Path

from {{ cookiecutter.package_name }}.durable import (
    Counts,
    Cursor,
    RunReport,
    Step,
    durable_flow,
    durable_task,
    run_chunks,
)
from {{ cookiecutter.package_name }}.durable.settings import settings

from . import feeds


@durable_task(version="1")
def load_page(page: feeds.Page, step: Step) -> Counts | None:
    rows, bad = feeds.check(page)
    step.set_aside(bad)
    feeds.at("before the step")
    with step:
        feeds.at("step begun")
        lines = [json.dumps([row["id"], row["value"], str(row["at"])]) + "\n" for row in rows]
        with (settings.home / "loaded").open("a") as file:
            file.write("".join(lines))
        feeds.at("rows written")
    feeds.at("committed")
    return {"read": len(page.records), "rejected": len(bad)}


@durable_flow(name=feeds.FLOW)
def load_feed(source: Path, minutes: int = 0) -> RunReport:
    cursor = Cursor.read("feed", overlap=timedelta(minutes=minutes))
    return run_chunks(load_page, feeds.pages(source, cursor), job="feed", cursor=cursor)


def loaded() -> dict[int, int]:
    """The value of each id in the file, the newest."""
    file = settings.home / "loaded"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return {id_: value for id_, value, _ in sorted(rows, key=lambda row: str(row[2]))}


def repeated() -> list[str]:
    """The chunks whose steps took effect more than once: not known."""
    return []
