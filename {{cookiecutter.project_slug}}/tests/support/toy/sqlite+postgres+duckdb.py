"""The toy flow: it loads toys into a table."""

from pathlib import Path

from pydantic import PositiveInt
from sqlalchemy import Column, Integer, String, Table, select

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

from .toys import FLOW, Toys, check, read

toys = Table(
    "toys",
    metadata,
    Column("chunk", String(20), primary_key=True),
    Column("name", String(20), primary_key=True),
    Column("number", Integer, nullable=False),
)


@durable_task(version="1")
def load_toys_of(chunk: Toys, step: Step) -> Counts | None:
    rows, rejects = check(chunk)
    step.set_aside(rejects)
    with step as connection:
        if connection is None:
            return None
        written = upsert(connection, toys, rows)
    return {"read": len(rows) + len(rejects), "rejected": len(rejects), **written.counts()}


@durable_flow(name=FLOW)
def load_toys(source: Path, job: str | None = None, times: PositiveInt = 1) -> RunReport:
    """Load toys.

    Args:
        source: A file of toys.
        job: The name of this work; the file's by default.
        times: Not more than one is of use.
    """
    return run_chunks(load_toys_of, read(source), job=job or source.stem)


def table() -> dict[tuple[str, str], int]:
    """The number of each toy in the table, by chunk and name."""
    with database().connect() as connection:
        return {(chunk, name): number for chunk, name, number in connection.execute(select(toys))}
