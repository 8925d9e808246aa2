"""What a run leaves in Prefect's UI for people to read: a table of its chunks, and a note on what it found done."""

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING

from prefect.settings import PREFECT_UI_URL

if TYPE_CHECKING:
    from .flows import ChunkReport, RunReport


def load_table(
    chunks: Iterable[str],
    reports: Mapping[str, "ChunkReport"],
    failed: Container[str],
    totals: Mapping[str, int],
) -> list[dict[str, object]]:
    """Return the rows of the table: the sums, then the chunks of the source, those first that the run was busy with.

    Args:
        chunks: the labels of all chunks.
        reports: of the chunks that this run did, by label. Any other one's counts are empty, for they are not its own.
        failed: the labels of chunks that could not be done.
        totals: the sums of the reports.
    """
    rows: dict[str, list[dict[str, object]]] = {"failed": [], "done now": [], "found done": []}
    for chunk in sorted(chunks):
        if report := reports.get(chunk):
            rows["done now"].append({"chunk": chunk, "outcome": "done now", **report})
        else:
            outcome = "failed" if chunk in failed else "found done"
            rows[outcome].append({"chunk": chunk, "outcome": outcome, **dict.fromkeys(totals, "")})
    return [{"chunk": "all", "outcome": "", **totals}, *rows["failed"], *rows["done now"], *rows["found done"]]


def load_summary(report: "RunReport", failed: int) -> str:
    """Return what stands above the table, in Markdown."""
    return (
        f"{report['job']}: {report['done']} chunks done now, {report['found']} found done, {failed} failed."
        f" {_rejects(report)}"
    )


def resumed_note(report: "RunReport", failed: int, attempt: int) -> str | None:
    """Return, in Markdown, what a run did not have to do again; None where it began from nothing.

    Args:
        report: of the run, which may have failed.
        failed: chunks that could not be done.
        attempt: how often this flow run was started; more than once if it was taken up, or tried again.
    """
    if attempt > 1:
        begin = f"Attempt {attempt} of this run of `{report['job']}`: the one before did not come to its end."
    elif report["found"]:
        begin = f"This run of `{report['job']}` found work that an earlier run had done."
    else:
        return None
    return f"""{begin}

| chunks of the source | {report["chunks"]} |
|---|---|
| found done, and left alone | {report["found"]} |
| done now | {report["done"]} |
| failed, left for a new run | {failed} |

{_rejects(report)}

[The loads of all runs]({PREFECT_UI_URL.value() or ""}/artifacts/key/load)
"""


def records(count: int) -> str:
    """Return so many bad records, in words."""
    return "1 bad record" if count == 1 else f"{count} bad records"


def _rejects(report: "RunReport") -> str:
    if not report["rejects_file"]:
        return "No record of the source was set aside."
    return f"{records(report['rejected'])} set aside, with line and reason: `{report['rejects_file']}`"
