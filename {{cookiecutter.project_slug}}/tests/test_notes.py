"""What a run leaves in the UI to read: each chunk has a row, and what was found done is said."""

import pytest
from prefect.settings import PREFECT_UI_URL, temporary_settings

from {{ cookiecutter.package_name }}.flows import RunReport
from {{ cookiecutter.package_name }}.notes import load_summary, load_table, resumed_note


def report(found: int = 0, rejects_file: str | None = None) -> RunReport:
    rejected = 3 if rejects_file else 0
    return RunReport(
        job="f", chunks=9, found=found, done=8 - found, totals={}, rejected=rejected, rejects_file=rejects_file
    )


def test_table_has_a_row_for_each_chunk_whatever_became_of_it() -> None:
    counts = {"read": 5, "rejected": 1}
    rows = load_table(["a", "b", "c"], {"b": {"chunk": "b", **counts}}, {"c"}, counts)  # type: ignore[typeddict-item]
    assert rows == [
        {"chunk": "all", "outcome": "", "read": 5, "rejected": 1},
        {"chunk": "c", "outcome": "failed", "read": "", "rejected": ""},
        {"chunk": "b", "outcome": "done now", "read": 5, "rejected": 1},
        {"chunk": "a", "outcome": "found done", "read": "", "rejected": ""},
    ]
    assert len({tuple(row) for row in rows}) == 1, "the columns are those of the first row"


def test_summary_says_where_the_bad_records_are() -> None:
    assert load_summary(report(2), 1) == (
        "f: 6 chunks done now, 2 found done, 1 failed. No record of the source was set aside."
    )
    rejects = "3 bad records set aside, with line and reason: `/var/f.csv`"
    assert load_summary(report(2, "/var/f.csv"), 1).endswith(rejects)


def test_run_that_begins_from_nothing_has_no_note() -> None:
    assert resumed_note(report(), 0, attempt=1) is None


@pytest.mark.parametrize(
    ("found", "attempt", "begin"),
    [
        (2, 1, "This run of `f` found work that an earlier run had done."),
        (2, 2, "Attempt 2 of this run of `f`: the one before did not come to its end."),
        (0, 3, "Attempt 3 of this run of `f`: the one before did not come to its end."),
    ],
)
def test_note_says_what_was_found_and_what_is_left(found: int, attempt: int, begin: str) -> None:
    note = resumed_note(report(found, "/var/f.csv"), 1, attempt)
    assert note
    assert note.startswith(f"{begin}\n\n| chunks of the source | 9 |\n")
    assert f"| found done, and left alone | {found} |" in note
    assert "| failed, left for a new run | 1 |" in note
    assert "3 bad records set aside, with line and reason: `/var/f.csv`" in note


@pytest.mark.parametrize("ui", ["", "https://prefect.example.com/ui"])
def test_note_links_to_the_page_of_the_same_server(ui: str) -> None:
    with temporary_settings({PREFECT_UI_URL: ui}):
        assert f"[The loads of all runs]({ui}/artifacts/key/load)" in (resumed_note(report(2), 0, 1) or "")
