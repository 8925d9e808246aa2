"""Artifacts of a run in Prefect's UI: a table of its chunks, and a note on skipped chunks."""

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from prefect.settings import PREFECT_UI_URL

if TYPE_CHECKING:
    from .chunks import Counts, RunReport

ROWS = 1000
"""The maximum number of chunks in a table: larger tables make the page slow."""


def chunk_table(
    chunks: Mapping[str, str], reports: Mapping[str, "Counts"], failed: Container[str], totals: "Counts"
) -> list[dict[str, object]]:
    """Build the rows of the table: the totals, then failed chunks, done chunks and skipped chunks.

    Args:
        chunks: the labels of all chunks, by key.
        reports: the counts of the chunks that this run did, by key. Other chunks have empty counts.
        failed: the keys of failed chunks.
        totals: the sums of the reports.
    """
    rows: dict[str, list[dict[str, object]]] = {"failed": [], "done": [], "skipped": []}
    for key, label in sorted(chunks.items(), key=lambda item: item[1]):
        if report := reports.get(key):
            rows["done"].append({"chunk": label, "outcome": "done", **report})
        else:
            outcome = "failed" if key in failed else "skipped"
            rows[outcome].append({"chunk": label, "outcome": outcome, **dict.fromkeys(totals, "")})
    shown = [*rows["failed"], *rows["done"], *rows["skipped"]]
    more: list[dict[str, object]] = [{"chunk": f"{len(shown) - ROWS} more", "outcome": "", **dict.fromkeys(totals, "")}]
    return [{"chunk": "all", "outcome": "", **totals}, *shown[:ROWS], *(more if len(shown) > ROWS else [])]


def summary(report: "RunReport", failed: int) -> str:
    """Return the text above the table, in Markdown."""
    counts = f"{report['done']} chunks done, {report['skipped']} skipped, {failed} failed"
    return f"{report['job']}: {counts}. {_rejects(report)}{_effects(report)}"


def resumed_note(report: "RunReport", failed: int, attempt: int, table: str) -> str | None:
    """Return a Markdown note on what a run has skipped; None if it started from nothing.

    Args:
        report: the report of the run, which may have failed.
        failed: the number of failed chunks.
        attempt: how often this flow run was started; more than once if it was resumed or retried.
        table: the key of the artifact with the table of chunks.
    """
    if attempt > 1:
        begin = f"Attempt {attempt} of this run of `{report['job']}`: the one before did not come to its end."
    elif report["skipped"]:
        begin = f"This run of `{report['job']}` skipped what an earlier run had done."
    else:
        return None
    return f"""{begin}

| chunks of the source | {report["chunks"]} |
|---|---|
| skipped, done before | {report["skipped"]} |
| done | {report["done"]} |
| failed, left for a new run | {failed} |

{_rejects(report)}{_effects(report)}

[The tables of all runs]({PREFECT_UI_URL.value() or ""}/artifacts/key/{table})
"""


def rejects_told(report: Mapping[str, object], quote: str = "") -> str:
    """Return how many records were rejected, and which file has them, in quotes; empty if there is none."""
    if not (file := report["rejects_file"]):
        return ""
    records = "1 rejected record" if report["rejected"] == 1 else f"{report['rejected']} rejected records"
    return f"{records}, with line and reason: {quote}{file}{quote}"


def _rejects(report: "RunReport") -> str:
    return rejects_told(report, "`") or "No record was rejected."


def _effects(report: "RunReport") -> str:
    counts = ", ".join(f"{count} {name}" for name, count in report["effects"].items())
    return f" Effects: {counts}." if counts else ""
