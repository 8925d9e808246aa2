"""The flow over a feed: it loads what has changed into a table."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Column, Integer, String, Table, insert, select

from {{ cookiecutter.package_name }}.durable import (
    Counts,
    Cursor,
    RunReport,
    Step,
    UtcDateTime,
    database,
    durable_flow,
    durable_task,
    metadata,
    run_chunks,
    upsert,
)

from . import feeds

feed = Table(
    "feed",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
effects = Table("feed_effects", metadata, Column("chunk", String(200), nullable=False))
"""A row each time that the step of a chunk takes effect."""


@durable_task(version="1")
def load_page(page: feeds.Page, step: Step) -> Counts | None:
    rows, bad = feeds.check(page)
    step.set_aside(bad)
    feeds.at("before the step")
    with step as connection:
        if connection is None:
            return None
        feeds.at("step begun")
        written = upsert(connection, feed, rows, newer="at")
        connection.execute(insert(effects).values(chunk=step.key))
        feeds.at("rows written")
    feeds.at("committed")
    return {"read": len(page.records), "rejected": len(bad), **written.counts()}


@durable_flow(name=feeds.FLOW)
def load_feed(source: Path, minutes: int = 0) -> RunReport:
    cursor = Cursor.read("feed", overlap=timedelta(minutes=minutes))
    return run_chunks(load_page, feeds.pages(source, cursor), job="feed", cursor=cursor)


def loaded() -> dict[int, int]:
    """The value of each id in the table."""
    with database().connect() as connection:
        return {row.id: row.value for row in connection.execute(select(feed))}


def repeated() -> list[str]:
    """The chunks whose steps took effect more than once."""
    with database().connect() as connection:
        times = Counter(connection.scalars(select(effects.c.chunk)))
    return [chunk for chunk, count in times.items() if count > 1]
