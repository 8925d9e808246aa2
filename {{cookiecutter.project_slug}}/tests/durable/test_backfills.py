"""Backfills: windows without gaps, whatever the clocks do, which leave the high-water mark alone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from {{ cookiecutter.package_name }}.durable import Backfill, InputError, Window


def backfill(since: str, until: str, window: str = "1d", zone: str = "UTC") -> Backfill:
    return Backfill.model_validate({"since": since, "until": until, "window": window, "zone": zone})


def windows(since: str, until: str, window: str = "1d", zone: str = "UTC") -> list[Window]:
    return list(backfill(since, until, window, zone).windows())


def assert_without_gaps(found: list[Window], since: datetime, until: datetime) -> None:
    assert (found[0].since, found[-1].until) == (since, until)
    assert [window.until for window in found[:-1]] == [window.since for window in found[1:]]
    assert all(window.since < window.until for window in found)
    assert len({window.key for window in found}) == len(found)


def test_days_are_windows() -> None:
    found = windows("2026-01-01", "2026-02-01")
    assert len(found) == 31
    assert_without_gaps(found, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    assert [window.label for window in found[:2]] == ["2026-01-01", "2026-01-02"]


@pytest.mark.parametrize(
    ("window", "count", "last"), [("1w", 2, 3), ("3d", 4, 1), ("7h", 35, 2 / 24), ("30m", 480, 0.5 / 24)]
)
def test_last_window_is_cut_at_the_end(window: str, count: int, last: float) -> None:
    found = windows("2026-01-01", "2026-01-11", window)
    assert_without_gaps(found, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 11, tzinfo=UTC))
    assert len(found) == count
    assert found[-1].until - found[-1].since == timedelta(days=last)


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [("2026-03-28", "2026-03-31", [24, 23, 24]), ("2026-10-24", "2026-10-27", [24, 25, 24])],
)
def test_days_end_at_midnight_when_summer_time_changes(since: str, until: str, hours: list[int]) -> None:
    found = windows(since, until, zone="Europe/Berlin")
    berlin = ZoneInfo("Europe/Berlin")
    assert [(window.until - window.since) / timedelta(hours=1) for window in found] == hours
    assert {window.since.astimezone(berlin).hour for window in found} == {0}
    assert [window.label for window in found] == [f"{since[:8]}{int(since[8:]) + day}" for day in range(3)]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
@pytest.mark.parametrize("window", ["1h", "6h", "25m"])
def test_hours_are_as_long_as_others_when_summer_time_changes(day: str, window: str) -> None:
    after = f"{day[:8]}{int(day[8:]) + 1}"
    found = windows(day, after, window, "Europe/Berlin")
    berlin = ZoneInfo("Europe/Berlin")
    start, end = (datetime.fromisoformat(text).replace(tzinfo=berlin).astimezone(UTC) for text in (day, after))
    assert_without_gaps(found, start, end)
    assert len({each.until - each.since for each in found[:-1]}) == 1


def test_day_without_a_midnight_has_no_gap() -> None:
    """There the clocks went from 24:00 to 1:00."""
    found = windows("2018-11-03", "2018-11-06", zone="America/Sao_Paulo")
    assert [window.until for window in found[:-1]] == [window.since for window in found[1:]]
    assert sum((window.until - window.since for window in found), timedelta(0)) == timedelta(hours=71)


def test_windows_are_the_same_when_a_run_is_resumed() -> None:
    """The server keeps the parameters of a run as JSON."""
    wanted = backfill("2026-03-28", "2026-03-31", "1d", "Europe/Berlin")
    again = Backfill.model_validate_json(wanted.model_dump_json())
    assert [window.key for window in again.windows()] == [window.key for window in wanted.windows()]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"until": "2026-01-01"}, "since must be before until"),
        ({"since": "2026-01-01T00:00:00Z"}, "without an offset"),
        ({"since": "yesterday"}, "since"),
        ({"zone": "Nowhere"}, "is no time zone"),
        ({"zone": "../etc/passwd"}, "is no time zone"),
        ({"window": "1s"}, "window"),
        ({"window": "PT0S"}, "use longer ones"),
        ({"window": "1m"}, "use longer ones"),
    ],
)
def test_what_is_no_backfill_is_refused(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Backfill.model_validate({"since": "2026-01-01", "until": "2026-02-01", **wrong})


def test_backfill_of_the_future_is_refused() -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(InputError, match="ends in the future"):
        windows("2026-01-01", tomorrow.date().isoformat())
