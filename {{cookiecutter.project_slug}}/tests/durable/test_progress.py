"""Progress: a bar where there is a terminal, and few updates of the artifact."""

import re
import time
from threading import Event
from types import SimpleNamespace

import pytest

from {{ cookiecutter.package_name }}.durable import progress


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The percentages that are sent to the server."""
    sent: list[float] = []
    monkeypatch.setattr(progress, "create_progress_artifact", lambda percent, **_: sent.append(percent))
    monkeypatch.setattr(progress, "update_progress_artifact", lambda _, percent: sent.append(percent))
    return sent


def test_artifact_is_updated_now_and_then_and_at_the_end(updates: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(100))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(seconds) / 2))  # half a second a part
    with progress.progress("key", "job", total=20, done=10) as advance:
        for _ in range(10):
            advance()
    assert updates[0] == 50
    assert updates[-1] == 100
    assert 3 <= len(updates) <= 6


def test_server_knows_of_a_part_while_the_next_takes_long(
    updates: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.1)
    told = Event()
    with progress.progress("key", "job", total=2, tell=told.set) as advance:
        advance()
        assert told.wait(30)
        assert updates == [0, 50]


def test_server_that_fails_meanwhile_ends_no_run(updates: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.1)
    failed = Event()

    def fail() -> None:
        failed.set()
        raise ConnectionError

    with progress.progress("key", "job", total=2, tell=fail) as advance:
        advance()
        assert failed.wait(30)
    assert updates[-1] == 50


def test_nothing_to_do_is_all_done(updates: list[float]) -> None:
    with progress.progress("key", "job", total=0):
        pass
    assert updates == [100, 100]


@pytest.mark.parametrize(("terminal", "shown"), [("1", True), ("0", False)])
@pytest.mark.usefixtures("updates")
def test_bar_is_shown_in_a_terminal_only(
    terminal: str, shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", terminal)
    with progress.progress("key", "job", total=2) as advance:
        time.sleep(0.01)  # else no time would have passed, in which a rate could be
        advance()
        time.sleep(0.01)
        advance()
    err = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err)
    assert bool(re.search(r"2/2 [\d.]+/s 0:00:0\d", err)) is shown
    assert bool(err) is shown
