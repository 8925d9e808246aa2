"""The toy flow: it counts toys."""

from pathlib import Path

from pydantic import PositiveInt

from {{ cookiecutter.package_name }}.durable import (
    Counts,
    RunReport,
    Step,
    durable_flow,
    durable_task,
    run_chunks,
)

from .toys import FLOW, Toys, check, read


@durable_task(version="1")
def load_toys_of(chunk: Toys, step: Step) -> Counts:
    rows, rejects = check(chunk)
    step.set_aside(rejects)
    return {"read": len(rows) + len(rejects), "rejected": len(rejects), "toys": len(rows)}


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
    """The number of each toy in the table: there is none."""
    return {}
