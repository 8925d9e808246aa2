"""What a run leaves in the UI to read: each chunk has a row, and what was skipped is said."""

import pytest
from prefect.settings import PREFECT_UI_URL, temporary_settings

from {{ cookiecutter.package_name }}.durable import RunReport
from {{ cookiecutter.package_name }}.durable.artifacts import ROWS, chunk_table, resumed_note, summary


def report(skipped: int = 0, rejects_file: str | None = None) -> RunReport:
    rejected = 3 if rejects_file else 0
    return RunReport(
        job="flow/f",
        chunks=9,
        skipped=skipped,
        done=8 - skipped,
        totals={},
        rejected=rejected,
        rejects_file=rejects_file,
        effects={},
    )


def test_table_has_a_row_for_each_chunk_whatever_became_of_it() -> None:
    counts = {"read": 5, "rejected": 1}
    rows = chunk_table({"1": "a", "2": "b", "3": "c"}, {"2": counts}, {"3"}, counts)
    assert rows == [
        {"chunk": "all", "outcome": "", "read": 5, "rejected": 1},
        {"chunk": "c", "outcome": "failed", "read": "", "rejected": ""},
        {"chunk": "b", "outcome": "done", "read": 5, "rejected": 1},
        {"chunk": "a", "outcome": "skipped", "read": "", "rejected": ""},
    ]
    assert len({tuple(row) for row in rows}) == 1, "the columns are those of the first row"


def test_table_of_many_chunks_is_bounded_and_says_so() -> None:
    chunks = {str(number): f"{number:05}" for number in range(ROWS + 7)}
    rows = chunk_table(chunks, {}, {"0"}, {"read": 1})
    assert len(rows) == ROWS + 2
    assert rows[1]["outcome"] == "failed"
    assert rows[-1] == {"chunk": "7 more", "outcome": "", "read": ""}


def test_summary_says_where_the_rejected_records_are() -> None:
    assert summary(report(2), 1) == "flow/f: 6 chunks done, 2 skipped, 1 failed. No record was rejected."
    rejects = "3 rejected records, with line and reason: `/var/f.csv`"
    assert summary(report(2, "/var/f.csv"), 1).endswith(rejects)


def test_run_that_begins_from_nothing_has_no_note() -> None:
    assert resumed_note(report(), 0, 1, "flow-chunks") is None


@pytest.mark.parametrize(
    ("skipped", "attempt", "begin"),
    [
        (2, 1, "This run of `flow/f` skipped what an earlier run had done."),
        (2, 2, "Attempt 2 of this run of `flow/f`: the one before did not come to its end."),
        (0, 3, "Attempt 3 of this run of `flow/f`: the one before did not come to its end."),
    ],
)
def test_note_says_what_was_skipped_and_what_is_left(skipped: int, attempt: int, begin: str) -> None:
    note = resumed_note(report(skipped, "/var/f.csv"), 1, attempt, "flow-chunks")
    assert note
    assert note.startswith(f"{begin}\n\n| chunks of the source | 9 |\n")
    assert f"| skipped, done before | {skipped} |" in note
    assert "| failed, left for a new run | 1 |" in note
    assert "3 rejected records, with line and reason: `/var/f.csv`" in note


@pytest.mark.parametrize("ui", ["", "https://prefect.example.com/ui"])
def test_note_links_to_the_page_of_the_same_server(ui: str) -> None:
    with temporary_settings({PREFECT_UI_URL: ui}):
        assert f"[The tables of all runs]({ui}/artifacts/key/k)" in (resumed_note(report(2), 0, 1, "k") or "")
