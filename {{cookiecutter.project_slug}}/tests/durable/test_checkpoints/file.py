"""The journal: what a crash cuts short, what is damaged, a full disk, and others who work on it meanwhile."""

import errno
import json
import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from {{ cookiecutter.package_name }}.durable import checkpoints
from {{ cookiecutter.package_name }}.durable.checkpoints import Checkpoint, JournalError, status
from {{ cookiecutter.package_name }}.durable.settings import settings
from {{ cookiecutter.package_name }}.durable.upserts import transaction

from tests.support import sink
from tests.support.crash import At, begun, prepare, work
from tests.support.processes import FORKS

KEYS = [f"step-{n}" for n in range(8)]


@pytest.fixture(params=[checkpoints.PIECE, 100, 10], ids="{} bytes at a time".format)
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read journals in pieces, of several lines and of less than one."""
    monkeypatch.setattr(checkpoints, "PIECE", request.param)


def journal() -> Path:
    """The one journal that there is."""
    (path,) = (settings.home / "checkpoints").glob("*.journal")
    return path


def anew() -> None:
    """Forget what this process has read, as a new process has not read it."""
    checkpoints._after_fork()


def marked(checkpoint: Checkpoint, keys: list[str]) -> bytes:
    """Mark steps, and return the journal."""
    checkpoint.remaining(keys)
    for key in keys:
        with checkpoint.step(key):
            pass
    return journal().read_bytes()


def loses(checkpoint: Checkpoint, whole: bytes, cut: int) -> set[str]:
    """The marks that are lost, or are there and should not be, when a journal is cut and a step is marked behind it."""
    path = settings.home / "checkpoints" / journal().name
    path.write_bytes(whole[:cut])
    anew()
    expected = set(KEYS[: max(whole[:cut].count(b"\n") - 2, 0)])
    found = checkpoint.done()
    with checkpoint.step("new"):
        pass
    anew()
    return (found ^ expected) | (checkpoint.done() ^ (expected | {"new"}))


@pytest.mark.usefixtures("pieces")
def test_journal_cut_at_any_byte_loses_no_whole_line_and_no_later_one() -> None:
    whole = marked(Checkpoint("job"), KEYS)
    for cut in range(len(whole) + 1):
        assert not loses(Checkpoint("job"), whole, cut), f"cut at byte {cut}"


def test_appending_behind_a_torn_tail_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(_: object, descriptor: int, line: bytes) -> None:
        os.pwrite(descriptor, line, os.fstat(descriptor).st_size)

    whole = marked(Checkpoint("job"), KEYS)
    assert not loses(Checkpoint("job"), whole, len(whole) - 5)
    monkeypatch.setattr(checkpoints._Journal, "_append", careless)
    assert "new" in loses(Checkpoint("job"), whole, len(whole) - 5)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("tail", [b"\0" * 4096, b"\0" * 100 + b"\n" + b"\0" * 50, b"00000000 []\n", b"\n\n"])
def test_rest_after_a_loss_of_power_is_cut_off(tail: bytes) -> None:
    whole = marked(Checkpoint("job"), KEYS)
    journal().write_bytes(whole + tail)
    anew()
    assert Checkpoint("job").done() == set(KEYS)
    with Checkpoint("job").step("new"):
        pass
    assert journal().read_bytes().startswith(whole)
    assert b"\0" not in journal().read_bytes()
    anew()
    assert Checkpoint("job").done() == {*KEYS, "new"}


@pytest.mark.usefixtures("pieces")
def test_damage_before_whole_lines_is_said_and_compacting_leaves_it_out() -> None:
    whole = bytearray(marked(Checkpoint("job"), KEYS))
    whole[whole.index(b"step-3")] ^= 0xFF
    journal().write_bytes(whole)
    anew()
    for _ in range(2):
        with pytest.raises(JournalError, match=r"job-\w+.journal, line 6, is damaged.*compact"):
            Checkpoint("job").done()
    with pytest.raises(JournalError), Checkpoint("job").step("step-3"):
        pass
    Checkpoint("job").compact()
    assert Checkpoint("job").remaining(KEYS) == ["step-3"]


@pytest.mark.parametrize("content", [b"hello\n" * 3, b"a,b\r\n" * 5])
def test_file_that_is_no_journal_is_said(content: bytes) -> None:
    marked(Checkpoint("job"), KEYS)
    journal().write_bytes(content)
    anew()
    for _ in range(2):
        with pytest.raises(JournalError, match="is not a journal, or all of it is damaged"):
            Checkpoint("job").done()


@pytest.mark.parametrize("record", [("version", 2), ("undone", "a", "b"), ("job",), 7, {"a": 1}])
def test_line_that_is_not_known_is_said(record: Any) -> None:
    marked(Checkpoint("job"), KEYS)
    body = json.dumps(record).encode()
    with journal().open("ab") as file:
        file.write(b"%08x %b\n" % (crc32(body), body))
    anew()
    with pytest.raises(JournalError, match="lines that"):
        Checkpoint("job").done()


def test_without_checksums_damage_would_pass_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "crc32", lambda _: 0)
    whole = marked(Checkpoint("job"), KEYS)
    journal().write_bytes(whole.replace(b"step-3", b"step-4"))
    anew()
    assert Checkpoint("job").done() == {*KEYS} - {"step-3"}


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("key", ['"', '","', "\\", '\\"', 'a","b","', '"],["done","b","', "é", "\n"])
def test_any_name_comes_back(key: str) -> None:
    marked(Checkpoint("job"), ["a", key, "z"])
    anew()
    assert Checkpoint("job").done() == {"a", key, "z"}


@pytest.mark.usefixtures("pieces")
def test_journal_of_another_job_is_not_taken_for_its_own() -> None:
    marked(Checkpoint("one"), ["a"])
    copy = journal().read_bytes()
    Checkpoint("two").remaining(["b"])
    (other,) = (settings.home / "checkpoints").glob("two-*.journal")
    other.write_bytes(copy)
    anew()
    for _ in range(2):
        with pytest.raises(JournalError, match="is not the journal of job 'two' but of 'one'"):
            Checkpoint("two").done()


def tear(at: At) -> None:
    """Let the process die in the middle of writing a line."""
    pwrite = os.pwrite

    def half(descriptor: int, line: Any, offset: int) -> int:
        written = pwrite(descriptor, line[: len(line) // 2], offset)
        at("half of the mark")
        return written + pwrite(descriptor, line[written:], offset + written)

    os.pwrite = half


@pytest.mark.slow
def test_killed_in_the_middle_of_a_mark() -> None:
    checkpoint = Checkpoint("job")
    prepare()
    doomed = FORKS.Process(target=work, args=(checkpoint, KEYS, "half of the mark", 4, 0, tear), daemon=True)
    doomed.start()
    doomed.join(60)
    assert doomed.exitcode == -signal.SIGKILL
    assert not journal().read_bytes().endswith(b"\n")
    assert len(checkpoint.done()) == 3
    work(checkpoint, KEYS)
    assert checkpoint.done() == set(KEYS)
    assert sorted(begun(key) for key in KEYS) == [1] * 7 + [2]


@pytest.mark.slow
@pytest.mark.skipif(sink.WRITERS == 1, reason="one process at a time has the database open")
def test_two_processes_appending_at_once_lose_nothing() -> None:
    checkpoint = Checkpoint("job")
    prepare()
    halves = [[f"{half}-{n}" for n in range(300)] for half in "ab"]
    running = [FORKS.Process(target=work, args=(checkpoint, keys), daemon=True) for keys in halves]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert checkpoint.done() == {key for keys in halves for key in keys}
    assert journal().read_bytes().count(b'["done"') == 600


def test_threads_appending_at_once_lose_nothing() -> None:
    checkpoint = Checkpoint("job")
    prepare()
    parts = [[f"{part}-{n}" for n in range(100)] for part in range(4)]
    threads = [threading.Thread(target=work, args=(checkpoint, keys)) for keys in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    anew()
    assert checkpoint.done() == {key for keys in parts for key in keys}


def fill(checkpoint: Checkpoint, room: int) -> None:
    """Mark a step where the file may grow by so many bytes only."""
    with transaction():
        """The database is open, and grows no more."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = journal().stat().st_size
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, most))
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)), checkpoint.step("late"):
        pass
    assert journal().stat().st_size == size
    assert "late" not in checkpoint.done()
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    with checkpoint.step("late") as connection:
        assert connection is not None


@pytest.mark.parametrize("room", [0, 1, 20])
def test_full_disk_is_an_error_and_leaves_nothing_behind(room: int) -> None:
    marked(Checkpoint("job"), KEYS)
    sink.release()
    process = FORKS.Process(target=fill, args=(Checkpoint("job"), room), daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert Checkpoint("job").done() == {*KEYS, "late"}


@pytest.mark.slow
def test_compacting_while_another_process_works_loses_nothing() -> None:
    checkpoint = Checkpoint("job")
    prepare()
    keys = [f"step-{n}" for n in range(300)]
    process = FORKS.Process(target=work, args=(checkpoint, keys, None, 1, 0.001), daemon=True)
    process.start()
    times = 0
    while process.is_alive():
        checkpoint.compact()
        times += 1
        process.join(0.005)
    assert process.exitcode == 0
    assert times > 5
    assert checkpoint.done() == set(keys)
    assert [begun(key) for key in keys] == [1] * 300
    anew()
    assert checkpoint.remaining(keys) == []
    assert not list((settings.home / "checkpoints").glob("*.part"))


def test_compacting_leaves_out_what_is_said_twice() -> None:
    checkpoint = Checkpoint("job")
    for last in range(1, 9):
        marked(checkpoint, KEYS[:last])
    lines = journal().read_bytes().count(b"\n")
    checkpoint.compact()
    assert journal().read_bytes().count(b"\n") == 10 < lines
    assert status() == [("job", 8, 8)]


def test_reset_while_another_process_works_is_noticed() -> None:
    checkpoint = Checkpoint("job")
    prepare()
    keys = [f"step-{n}" for n in range(200)]
    process = FORKS.Process(target=work, args=(checkpoint, keys, None, 1, 0.002), daemon=True)
    process.start()
    while len(checkpoint.done()) < 50:
        process.join(0.001)
    assert checkpoint.reset()
    process.join(60)
    assert process.exitcode == 0
    assert 1 <= len(checkpoint.done()) < 200, "marks of before the reset are gone, later ones are in the new journal"
    work(checkpoint, keys)
    assert checkpoint.done() == set(keys)


def test_fork_has_locks_of_its_own() -> None:
    checkpoint = Checkpoint("job")
    marked(checkpoint, KEYS)
    assert checkpoints._journals
    pid = os.fork()
    if not pid:
        os._exit(len(checkpoints._journals))
    assert os.waitpid(pid, 0)[1] == 0


def test_mark_is_on_the_disk_when_its_step_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as a test can see: the journal is flushed after each line, with the line in it."""
    flush, sizes = checkpoints._flush, [0]

    def seen(descriptor: int) -> None:
        flush(descriptor)
        sizes.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(checkpoints, "_flush", seen)
    checkpoint = Checkpoint("job")
    for key in "abc":
        with checkpoint.step(key):
            pass
        assert sizes[-1] == journal().stat().st_size > sizes[-2]
