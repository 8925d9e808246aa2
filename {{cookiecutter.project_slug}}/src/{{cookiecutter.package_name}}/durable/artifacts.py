"""What a run leaves in Prefect's UI for people to read: a table of its chunks, and a note on what it has skipped."""

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from prefect.settings import PREFECT_UI_URL

if TYPE_CHECKING:
    from .chunks import Counts, RunReport

ROWS = 1000
"""Chunks in a table: the page is slow with more."""


def chunk_table(
    chunks: Mapping[str, str], reports: Mapping[str, "Counts"], failed: Container[str], totals: "Counts"
) -> list[dict[str, object]]:
    """Return the rows of the table: the sums, then the chunks: first those that failed, then those that were done.

    Args:
        chunks: the labels of all chunks, by key.
        reports: of the chunks that this run did, by key. The counts of any other chunk are empty: they are not its own.
        failed: the keys of chunks that failed.
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
    """Return what stands above the table, in Markdown."""
    counts = f"{report['done']} chunks done, {report['skipped']} skipped, {failed} failed"
    return f"{report['job']}: {counts}. {_rejects(report)}{_effects(report)}"


def resumed_note(report: "RunReport", failed: int, attempt: int, table: str) -> str | None:
    """Return, in Markdown, what a run did not have to do again; None where it began from nothing.

    Args:
        report: of the run, which may have failed.
        failed: chunks that failed.
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
| skipped, for they were done | {report["skipped"]} |
| done | {report["done"]} |
| failed, left for a new run | {failed} |

{_rejects(report)}{_effects(report)}

[The tables of all runs]({PREFECT_UI_URL.value() or ""}/artifacts/key/{table})
"""


def records(count: int) -> str:
    """Return so many rejected records, in words."""
    return "1 rejected record" if count == 1 else f"{count} rejected records"


def _rejects(report: "RunReport") -> str:
    if not report["rejects_file"]:
        return "No record was rejected."
    return f"{records(report['rejected'])}, with line and reason: `{report['rejects_file']}`"


def _effects(report: "RunReport") -> str:
    counts = ", ".join(f"{count} {name}" for name, count in report["effects"].items())
    return f" Effects: {counts}." if counts else ""
