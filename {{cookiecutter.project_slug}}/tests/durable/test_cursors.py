"""Cursors: a load brings what has changed since the last one, and no kill, late record or second run loses any."""

import random
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.durable import (
    Cursor,
    InputError,
    RunReport,
    context,
    cursors,
    high_water,
    results,
    upserts,
)
from {{ cookiecutter.package_name }}.durable.cache_keys import ACROSS_RUNS
from {{ cookiecutter.package_name }}.durable.checkpoints import IN_STORE, REMEMBERS
from {{ cookiecutter.package_name }}.durable.errors import ChunksFailedError, TooManyRejectsError
from {{ cookiecutter.package_name }}.durable.resume import resume_dead_runs
from {{ cookiecutter.package_name }}.durable.runs import dead

from tests.support import cluster, feeds, sink
from tests.support.feed import load_feed, loaded, repeated
from tests.support.feeds import BAD, FAILING, FLOW, Page, expected, fetches, minute, write
from tests.support.processes import Child

POINTS = ("fetched", "before the step", "step begun", "rows written", "committed", "mark written", "mark moved")
"""Where a process can be killed, in the order of a load."""
CHILD = """
import os, signal, sys
from pathlib import Path
from tests.support import feeds
from tests.support.feed import load_feed
from {{ cookiecutter.package_name }}.durable import high_water

if __name__ == "__main__":
    source, point, hit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    def at(here):
        global hit
        hit -= here == point
        if here == point and hit == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    change = high_water.change

    def watched(name, decide, connection=None):
        def decided(mark):
            after = decide(mark)
            if after is not None and after.began is None:
                at("mark written")
            return after

        change(name, decided, connection)
        at("mark moved")

    feeds.at = at
    high_water.change = watched
    load_feed(source)
"""
"""A load that dies the so many-th time that it comes to a point."""
# To marks that are in a store, the server knows the way.
in_a_flow = pytest.mark.usefixtures(*(["api"] if IN_STORE and results.NEEDS_SERVER else []), "flow")
only_with_marks = pytest.mark.skipif(not REMEMBERS, reason="each run loads all: there is no high-water mark")

in_threads = pytest.mark.skipif(not cluster.IN_THREADS, reason="chunks are loaded by other processes")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Eight records in pages of three, two of which end between equal timestamps."""
    return write(
        tmp_path / "feed.json",
        *((1, 10, 1), (2, 20, 2), (3, 30, 3), (4, 40, 3), (5, 50, 4), (6, 60, 5), (7, 70, 5), (8, 80, 6)),
    )


@pytest.fixture
def flow() -> Iterator[None]:
    """What `Cursor.read` needs of a flow, without one."""
    upserts.prepare()
    token = context.FLOW.set(FLOW)
    yield
    context.FLOW.reset(token)


def mark() -> datetime | None:
    """Up to where the feed is loaded."""
    return next((datetime.fromisoformat(value) for _, value in high_water.status()), None)


def page(*minutes: float) -> Page:
    return Page("page", "load", "digest", tuple((1, 1, minute(each)) for each in minutes))


def done(cursor: Cursor, *minutes: float) -> None:
    """End a load that has seen records of these minutes."""
    cursor.close(cursor.highest([page(each) for each in minutes]))


def run(source: Path, minutes: int = 0) -> RunReport:
    report: RunReport = load_feed(source, minutes)
    return report


# The mark


@in_a_flow
def test_first_load_takes_all_and_the_next_one_what_is_new() -> None:
    first = Cursor.read("feed")
    assert first.since is None
    done(first, 1, 3, 2)
    second = Cursor.read("feed")
    assert second.since == (minute(3) if REMEMBERS else None), "inclusive: equal timestamps come again"
    assert second.load != first.load or not REMEMBERS


@in_a_flow
@only_with_marks
def test_overlap_reads_again_what_lies_before_the_mark() -> None:
    done(Cursor.read("feed"), 60)
    assert Cursor.read("feed", overlap=timedelta(minutes=10)).since == minute(50)
    assert mark() == minute(60)


@in_a_flow
@only_with_marks
def test_load_without_records_leaves_the_mark() -> None:
    done(Cursor.read("feed"))
    assert mark() is None
    done(Cursor.read("feed"), 5)
    before = Cursor.read("feed")
    done(before)
    assert mark() == minute(5)
    assert Cursor.read("feed").load != before.load, "a page of that load must not pass for one of the next"


@in_a_flow
@only_with_marks
def test_source_whose_clock_goes_back_does_not_move_the_mark_back() -> None:
    done(Cursor.read("feed"), 60)
    done(Cursor.read("feed"), 10)
    assert mark() == minute(60)


@in_a_flow
@only_with_marks
def test_mark_stays_behind_the_beginning_of_its_load() -> None:
    """A timestamp in the future hides nothing; nor does a load that was killed and goes on hours later.

    Its first page is of the time when it began: what arrives late has to be read again from then on.
    """
    begun = Cursor.read("feed")
    resumed = Cursor.read("feed")
    assert resumed.began == begun.began
    done(resumed, 60 * 24 * 365 * 70)
    assert mark() == begun.began


@in_a_flow
@only_with_marks
def test_load_that_is_not_closed_goes_on_under_its_name() -> None:
    done(Cursor.read("feed"), 1)
    begun = Cursor.read("feed")
    assert Cursor.read("feed") == begun


@in_a_flow
@only_with_marks
def test_load_that_began_long_ago_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Cursor.read("feed")
    monkeypatch.setattr(cursors, "RESUMABLE", timedelta(0))
    again = Cursor.read("feed")
    assert again.load != begun.load
    assert again.began > begun.began


@in_a_flow
@only_with_marks
def test_restart_begins_anew_from_the_same_mark() -> None:
    done(Cursor.read("feed"), 5)
    begun = Cursor.read("feed")
    begun.restart()
    again = Cursor.read("feed")
    assert again.load != begun.load
    assert again.since == begun.since


@in_a_flow
@only_with_marks
@pytest.mark.parametrize("order", [(10, 20), (20, 10)])
def test_two_runs_at_a_time_skip_nothing(order: tuple[int, int]) -> None:
    done(Cursor.read("feed"), 5)
    first, second = Cursor.read("feed"), Cursor.read("feed")
    done(first, order[0])
    assert mark() == minute(order[0])
    done(second, order[1])
    assert mark() == minute(20), "both have loaded all from the mark on, up to their own end"


@in_a_flow
@only_with_marks
def test_mark_that_was_forgotten_meanwhile_stays_so() -> None:
    done(Cursor.read("feed"), 5)
    running = Cursor.read("feed")
    high_water.forget(running.name)
    done(running, 10)
    assert mark() is None, "what lies before the mark of that run is to be loaded again"
    again = Cursor.read("feed")
    done(running, 10)
    assert (mark(), again.since) == (None, None)
    done(again, 9)
    assert mark() == minute(9)


@in_a_flow
@only_with_marks
def test_sources_do_not_see_each_other() -> None:
    done(Cursor.read("feed"), 5)
    assert Cursor.read("other").since is None
    token = context.FLOW.set("load-other")
    assert Cursor.read("feed").since is None
    context.FLOW.reset(token)


@in_a_flow
@only_with_marks
def test_numbers_are_marks_too() -> None:
    cursor = Cursor.read("feed")
    chunk = type("Numbered", (), {"highest": 42})()
    cursor.close(cursor.highest([chunk]))
    assert Cursor.read("feed").since == 42
    with pytest.raises(TypeError, match="an overlap is a time"):
        Cursor.read("feed", overlap=timedelta(minutes=1))
    with pytest.raises(InputError, match="forget its mark: make reset JOB=load-feed/feed"):
        Cursor.read("feed").highest([page(1)])


@in_a_flow
@pytest.mark.parametrize("value", [datetime(2026, 1, 1), "2026-01-01", 1.5])
def test_value_that_has_no_order_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="timestamps with a time zone, or integers"):
        Cursor.read("feed").highest([type("Strange", (), {"highest": value})()])
    with pytest.raises(TypeError, match="has no `highest`"):
        Cursor.read("feed").highest([object()])


def test_cursor_is_of_a_flow() -> None:
    with pytest.raises(RuntimeError, match="@durable_flow"):
        Cursor.read("feed")


def test_flow_with_a_cursor_is_never_done_without_a_look_at_its_source() -> None:
    """Nor does that take a database, which may not be there yet."""
    tokens = context.FLOW.set(FLOW), context.LOOKING.set(True)
    with pytest.raises(context.ChunksLeftError):
        Cursor.read("feed")
    context.FLOW.reset(tokens[0])
    context.LOOKING.reset(tokens[1])


@in_a_flow
@pytest.mark.skipif(not (REMEMBERS and upserts.WRITES), reason="there is no high-water mark, or no database")
def test_mark_does_not_outlive_its_database() -> None:
    done(Cursor.read("feed"), 5)
    sink.empty()
    upserts.prepare()
    assert Cursor.read("feed").since is None


# Loads


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("window", [1000, 2], ids=["one window", "two windows"])
def test_loads_bring_what_is_new_late_or_equal(source: Path, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("{{ cookiecutter.package_name }}.durable.chunks.WINDOW", window)
    report = run(source)
    assert (report["chunks"], report["totals"]["read"]) == (3, 8)
    assert loaded() == expected(source)
    assert mark() == (minute(6) if REMEMBERS else None)
    # Another one of the last timestamp, one that was changed, and one that arrives late.
    records = [(1, 11, 7), (2, 20, 2), (3, 30, 3), (4, 40, 3), (5, 50, 4), (6, 60, 5), (7, 70, 5), (8, 80, 6)]
    write(source, *records, (9, 90, 6), (10, 100, 4.5))
    report = run(source, minutes=2)
    assert report["totals"]["read"] == (7 if REMEMBERS else 10)
    assert loaded() == expected(source)
    assert repeated() == []


@pytest.mark.usefixtures("api")
def test_load_that_finds_nothing_new_looks_again_the_next_time(source: Path) -> None:
    run(source)
    run(source)
    write(source, (1, 99, 8))
    run(source)
    assert loaded()[1] == 99


@pytest.mark.usefixtures("api")
@only_with_marks
def test_mark_never_passes_a_page_that_failed(source: Path) -> None:
    run(source)
    # The page with the highest timestamp is loaded, one before it is not.
    write(source, (20, 1, 10), (21, FAILING, 11), (22, 1, 12), (23, 1, 13))
    with pytest.raises(ChunksFailedError):
        run(source)
    assert mark() == minute(6)
    write(source, (20, 1, 10), (21, 5, 11), (22, 1, 12), (23, 1, 13))
    run(source)
    assert (loaded()[21], mark()) == (5, minute(13))


@pytest.mark.usefixtures("api")
@only_with_marks
def test_mark_never_passes_records_that_were_all_rejected(source: Path) -> None:
    run(source)
    write(source, (20, BAD, 10), (21, BAD, 11))
    with pytest.raises(TooManyRejectsError):
        run(source)
    assert mark() == minute(6)
    # As after a correction of the code: the same page.
    write(source, (20, 1, 10), (21, 1, 11))
    run(source)
    assert (loaded()[21], mark()) == (1, minute(11))


@pytest.mark.usefixtures("api")
@only_with_marks
def test_mark_passes_a_rejected_record(source: Path) -> None:
    write(source, (1, 1, 1), (2, BAD, 2), (3, 1, 3), (4, 1, 4))
    report = run(source)
    assert (report["rejected"], mark()) == (1, minute(4))


@in_threads
@pytest.mark.usefixtures("api")
@pytest.mark.skipif(not high_water.WITH_ROWS, reason="the high-water mark is not in the database")
def test_mark_moves_in_the_transaction_of_the_last_page(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, datetime | None]] = []

    def fail_at_the_end(self: Cursor, highest: object, connection: object = None) -> None:
        close(self, highest, connection)  # type: ignore[arg-type]
        assert connection is not None, "the last page is there, and so the run does not come to this"
        raise ValueError("bad luck")

    def look(point: str) -> None:
        if point == "committed":
            seen.append((len(loaded()), mark()))

    close = Cursor.close
    with monkeypatch.context() as patch:
        patch.setattr(Cursor, "close", fail_at_the_end)
        with pytest.raises(ChunksFailedError):
            run(source)
    assert (len(loaded()), mark()) == (6, None), "neither the last page nor the mark"
    monkeypatch.setattr(feeds, "at", look)
    run(source)
    assert seen[-1] == (8, minute(6))
    assert all(moved is None for _, moved in seen[:-1])


@pytest.mark.usefixtures("api")
@only_with_marks
def test_reset_forgets_the_mark_and_status_shows_it(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from {{ cookiecutter.package_name }}.durable.cli import reset, status

    run(source)
    assert status() == 0
    assert f"{FLOW}/feed: loaded up to 2026-01-01T00:06:00+00:00\n" in capsys.readouterr().out
    assert reset(f"{FLOW}/feed") == 0
    assert status() == 0
    assert "loaded up to" not in capsys.readouterr().out
    assert run(source)["totals"]["read"] == 8


@pytest.mark.usefixtures("api")
def test_cursor_has_the_name_of_its_job(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Cursor.read
    monkeypatch.setattr(Cursor, "read", lambda source, **options: whole("other", **options))
    with pytest.raises(ValueError, match="give both one name"):
        run(source)


# Kills


def killed(source: Path, point: str, hit: int) -> int | None:
    """Let a process load the feed, which dies at a point; return its exit code."""
    sink.release()
    script = source.with_name("load.py")
    script.write_text(CHILD)
    code, output = Child(script, str(source), point, str(hit)).end()
    assert code in (0, -signal.SIGKILL), output
    return code


def assert_whole(source: Path) -> None:
    assert loaded() == expected(source)
    if high_water.WITH_ROWS:
        assert repeated() == []
    if REMEMBERS:
        assert mark() == max(minute(when) for _, _, when in CHANGED)


CHANGED = [(3, 31, 7), (9, 90, 6), (10, 100, 8), (11, 110, 9), (12, 120, 9)]


@in_threads
@pytest.mark.usefixtures("api")
@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_nothing_is_lost_or_doubled(source: Path, point: str) -> None:
    assert killed(source, point, 1) == (-signal.SIGKILL if REMEMBERS or not point.startswith("mark written") else 0)
    before = fetches()
    run(source)
    if REMEMBERS and ACROSS_RUNS and point in ("before the step", "step begun", "rows written", "committed"):
        assert fetches() == before, "a page that was fetched is not fetched again"
    assert loaded() == expected(source)
    # The same for a load that has a mark to begin from.
    left = [(1, 10, 1), (2, 20, 2), (4, 40, 3), (5, 50, 4), (6, 60, 5), (7, 70, 5), (8, 80, 6)]
    write(source, *left, *CHANGED)
    killed(source, point, 2)
    run(source)
    run(source)
    assert_whole(source)


@in_threads
@pytest.mark.usefixtures("api")
@pytest.mark.slow
def test_resumed_run_does_not_fetch_again(source: Path) -> None:
    assert killed(source, "fetched", 3) == -signal.SIGKILL
    before = fetches()
    assert len(dead()) == 1
    assert resume_dead_runs(lambda _: None)
    assert loaded() == expected(source)
    # Where no run finds results of another one, this one finds its own.
    assert fetches() == before


@in_threads
@pytest.mark.usefixtures("api")
@pytest.mark.slow
def test_killed_at_random_while_the_source_changes_nothing_is_lost_or_doubled(source: Path) -> None:
    chance = random.Random(7)
    records = {number: (number, number * 10, number / 2) for number in range(1, 12)}
    for turn in range(12, 24):
        for number in chance.sample(sorted(records), 3):
            records[number] = (number, turn * 100 + number, turn / 2)
        records[turn] = (turn, turn * 10, turn / 2)
        write(source, *records.values())
        killed(source, chance.choice(POINTS), chance.randint(1, 6))
    run(source)
    run(source)
    assert loaded() == expected(source)
    if high_water.WITH_ROWS:
        assert repeated() == []
    if REMEMBERS:
        assert mark() == minute(23 / 2)
