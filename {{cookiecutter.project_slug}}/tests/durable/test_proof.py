"""`make prove`: it finds flows that lose or double something when they are killed, and no others."""

import dataclasses
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.durable import upserts
from {{ cookiecutter.package_name }}.durable.chunks import RESUMES
from {{ cookiecutter.package_name }}.durable.settings import PREFIX, ROOT, ProjectSettings, settings

from tests.support import cluster, sink
from tests.support.proof.__main__ import CAUSES, Plan, Verdict, _files, options
from tests.support.proof.comparison import LONGEST, Fault, Request, State, compare, repeats, varying
from tests.support.proof.trials import Kill, ProofError
from tests.support.proof.victim import OURS, POINTS

# Of `tests.support.planted`, which is not imported here: all other tests would then have its tables.
SOUND = "load-soundly"
FAULTY = ["load-appended-file", "load-random-key", "load-time-in-key", "load-without-key"]
if upserts.WRITES:
    FAULTY += ["load-appended-rows", "load-before-step", "load-second-transaction", "load-swapped"]
if not cluster.IN_THREADS:
    # A trial starts a cluster, which takes seconds. These die in the flow's process, around a request, and in a step.
    FAULTY = [flow for flow in FAULTY if flow in ("load-random-key", "load-without-key", "load-second-transaction")]
TIMEOUT = 1200
"""Seconds, on a busy machine."""


def proof(*arguments: str, home: Path, folder: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the flows with planted faults, in a folder, with more variables of the environment."""
    return subprocess.run(
        [sys.executable, "-m", "tests.support.proof", "--packages", "tests.support.planted", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), f"{PREFIX}HOME": str(home), **more},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def verdicts(said: str) -> dict[str, str]:
    """Return what a report says of each flow."""
    _, *parts = re.split(r"^## (.+)$", said, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


# What is compared


def state(*rows: tuple[int, str], files: dict[str, list[str]] | None = None, requests: int = 0) -> State:
    found = [([str(key)] if key else [], {"value": value, "loaded_at": str(time.time_ns())}) for key, value in rows]
    return State({"orders": found}, files or {}, [Request("POST https://x.example", "", "digest")] * requests)


IGNORED = {("loaded_at", "table orders")}


def test_equal_states_have_no_fault() -> None:
    rows = [(1, "a"), (2, "b"), (0, "c"), (0, "c")]
    assert compare(state(*rows), state(*reversed(rows)), IGNORED) == []


@pytest.mark.parametrize(
    ("found", "fault", "example"),
    [
        (state((1, "a")), Fault("lost", "table orders"), '["2"]'),
        (state((1, "a"), (2, "b"), (3, "c")), Fault("doubled", "table orders"), '["3"]'),
        (state((1, "a"), (2, "c")), Fault("differing", "table orders"), '["2"]: value is c, not b'),
        (
            state((1, "a"), (2, "b"), files={"rejects/orders.csv": ["x"]}),
            Fault("doubled", "file rejects/orders.csv of the home"),
            "x",
        ),
        (
            state((1, "a"), (2, "b"), requests=1),
            Fault("doubled", "requests"),
            "POST https://x.example without Idempotency-Key",
        ),
    ],
)
def test_each_difference_is_named(found: State, fault: Fault, example: str) -> None:
    assert compare(state((1, "a"), (2, "b")), found, IGNORED) == [fault]
    (other,) = compare(state((1, "a"), (2, "b")), found, IGNORED)
    assert (other.count, other.example) == (1, example)


def test_rows_without_a_key_are_counted() -> None:
    once, twice = state((0, "a")), state((0, "a"), (0, "a"))
    assert compare(once, twice, IGNORED) == [Fault("doubled", "table orders")]
    assert compare(twice, once, IGNORED) == [Fault("lost", "table orders")]
    (fault,) = compare(twice, state(), IGNORED)
    assert (fault.count, fault.example) == (2, "value=a")
    (fault,) = compare(once, state((0, "b" * 200)), IGNORED)
    assert (fault.what, fault.count) == ("differing", 1)
    assert len(fault.example) == LONGEST
    assert fault.example.startswith("value is bbb")
    assert fault.example.endswith("b…")


def test_lost_and_differing_rows_are_told_apart() -> None:
    found = compare(state((1, "a"), (2, "b"), (3, "c")), state((1, "x")), IGNORED)
    assert [(fault.what, fault.count, fault.example) for fault in found] == [
        ("lost", 2, '["2"]'),
        ("differing", 1, '["1"]: value is x, not a'),
    ]


def test_columns_that_differ_without_a_kill_are_found() -> None:
    assert varying(state((1, "a")), state((1, "a"))) == IGNORED
    both = {("loaded_at", "table orders"), ("value", "table orders")}
    assert varying(state((0, "a")), state((0, "b"))) == both
    assert varying(state((0, "a"), (0, "b")), state((0, "b"), (0, "a"))) == IGNORED, "in another order"


def test_keys_that_the_database_numbers_are_not_compared() -> None:
    first, second = (
        dataclasses.replace(state(*rows), numbered=frozenset({"orders"}))
        for rows in ([(1, "a"), (2, "b")], [(1, "a"), (3, "b")])
    )
    found = varying(first, second)
    assert found == IGNORED | {("keys", "table orders")}
    assert compare(first, second, found) == []
    assert [fault.what for fault in compare(first, state((1, "a"), (2, "b"), (3, "b")), found)] == ["doubled"]


def test_file_that_differs_without_a_kill_is_not_compared() -> None:
    first, second = State({}, {"log": ["1 a", "1 b"]}, []), State({}, {"log": ["2 a", "2 b"]}, [])
    found = varying(first, second)
    assert found == {("text", "file log of the home")}
    assert compare(first, State({}, {"log": ["3 a"]}, []), found) == []
    assert compare(first, State({}, {}, []), varying(first, first)) == [Fault("lost", "file log of the home")]


def test_line_that_was_changed_differs() -> None:
    (fault,) = compare(State({}, {"last": ["2", "same"]}, []), State({}, {"last": ["4", "same"]}, []))
    assert (fault.what, fault.count, fault.example) == ("differing", 1, "4 instead of 2")
    whole, half = '{"id": 1}', '{"id"'
    (fault,) = compare(State({}, {"last": [whole]}, []), State({}, {"last": [half]}, []))
    assert fault.example == f"{half} instead of {whole}", "a line that was cut, not a row"


def test_request_that_is_sent_again_with_its_key_is_one_effect() -> None:
    once = [Request("POST https://x.example", "key", "digest")]
    assert compare(State({}, {}, once), State({}, {}, once * 3)) == []
    assert repeats(once * 3) == 2
    other = [*once, Request("POST https://x.example", "another", "digest")]
    assert [fault.what for fault in compare(State({}, {}, once), State({}, {}, other))] == ["doubled"]


def test_request_that_is_idempotent_by_its_method_is_one_effect() -> None:
    first = [Request("PUT https://x.example/1", "", "digest")]
    assert compare(State({}, {}, first), State({}, {}, first * 2)) == []
    other = [*first, Request("PUT https://x.example/1", "", "another")]
    assert [fault.what for fault in compare(State({}, {}, first), State({}, {}, other))] == ["doubled"]


def test_request_with_another_body_differs() -> None:
    first, second = (State({}, {}, [Request("POST https://x.example", "key", body)]) for body in "ab")
    (fault,) = compare(first, second)
    assert (fault.what, fault.example) == ("differing", "POST https://x.example: another body")
    # Unless it holds a time, for example.
    found = varying(first, second)
    assert found == {("bodies", "requests")}
    assert compare(first, second, found) == []


# The moments of kills


@pytest.mark.parametrize("text", ["committed:3", "half of the effect:12", "0.84s", "2s TERM", "1.5s WORKER"])
def test_moments_are_read_as_they_are_written(text: str) -> None:
    assert str(Kill.parse(text)) == text


@pytest.mark.parametrize("text", ["committed", "commited:3", "committed:x", "1", "1s LATER", ""])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ProofError, match="is no moment for a kill"):
        Kill.parse(text)


def test_kills_are_at_all_points_that_are_passed_and_at_any_time() -> None:
    passed = Counter(dict.fromkeys(POINTS[:4], 5))
    again = Plan(2, [Kill("1s")], 1, until_fault=False, jobs=1).trials(passed, 2.0)
    assert again == [[Kill("1s")]] * 2, "resumed and run again"
    trials = Plan(50, [], 1, until_fault=False, jobs=1).trials(passed, 2.0)
    kills = [kill for trial in trials for kill in trial]
    assert len(kills) == 50
    assert {kill.point for kill in kills} == {*POINTS[:4], ""}
    assert {kill.how for kill in kills} == {"KILL", "TERM"} | (set() if cluster.IN_THREADS else {"WORKER"})
    assert all(1 <= int(kill.at.partition(":")[2]) <= 5 for kill in kills if kill.point)


def test_report_counts_the_kills_and_has_a_command_for_each_fault() -> None:
    hit = Counter({"committed": 2, "TERM": 3, "KILL": 4})
    verdict = Verdict("load-orders", ["--folder", "x"], hit=hit, pairs=1)
    verdict.add([Fault("differing", "b")], [])
    verdict.add([Fault("lost", "a", 3, '["1"]')], [Kill("1.5s", "TERM"), Kill("2s")])
    verdict.add([Fault("lost", "a", 4, '["2"]')], [Kill("3s")])
    verdict.add([Fault("doubled", "requests")], [Kill("3s")])
    lines = list(verdict.lines())
    assert "| kills | 4 at any time, 3 by SIGTERM, 2 committed |" in lines
    assert "| trials with two processes at once | 1 |" in lines
    assert "| lost | 7 |" in lines
    again = "to see it again: `make prove FLOW=load-orders"
    assert f'- **differing** in b: 1; {again} KILLS=1 ARGS="--folder x"`' in lines
    assert "  Usual cause: no Idempotency-Key, or a random one: use `step.send`, or a key made of the data." in lines
    seen = '7 in 2 trials, such as `["1"]`'
    assert f'- **lost** in a: {seen}; {again} AT="1.5s TERM, 2s" ARGS="--folder x"`' in lines


def test_causes_of_kills_are_left_out_where_runs_differ_without_one() -> None:
    for undisturbed in ([], [Fault("different without a kill", "table a")]):
        verdict = Verdict("load-orders", [])
        verdict.add(undisturbed, [])
        verdict.add([Fault("lost", "table a")], [Kill("3s")])
        said = "\n".join(verdict.lines())
        assert (CAUSES["lost table"] in said) == (not undisturbed)


# Requests of other clients

MAIL = "import smtplib; smtplib.SMTP().sendmail('me@x.example', 'you@x.example', 'hello')"
BY_URLLIB = "from urllib.request import Request, urlopen; urlopen(Request('http://x.example', data=b''))"
BY_AIOHTTP = """import asyncio, aiohttp
async def ask():
    async with aiohttp.ClientSession() as session:
        await session.post('http://x.example')
asyncio.run(ask())"""


@pytest.mark.parametrize(
    ("code", "what"), [(MAIL, "a mail to you@x.example"), (BY_URLLIB, "POST x.example"), (BY_AIOHTTP, "POST x.example")]
)
def test_request_that_the_receiver_cannot_get_is_refused(code: str, what: str) -> None:
    if "aiohttp" in code and not importlib.util.find_spec("aiohttp"):
        pytest.skip("aiohttp is not installed")
    watched = "from tests.support.proof.victim import watch_requests; watch_requests(print)\n"
    nobody = "http://127.0.0.1:9/"
    here = {"PROOF_RECEIVER": nobody, "PREFECT_API_URL": nobody, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", watched + code],
        cwd=ROOT,
        env=os.environ | here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"the proof does not let {what} through" in done.stderr


# Whole proofs


def test_file_that_a_flow_has_written_beside_its_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "known.csv").touch()
    before = _files(tmp_path)
    for name in ("data/export.txt", "var/x", ".git/x", "src/__pycache__/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {name for name, _ in _files(tmp_path) - before} == {"data/export.txt"}


def test_files_of_durable_are_known() -> None:
    """What is in the home and not known would count as an outcome of the flow."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").glob("*/durable/*.py")]
    names = {name for text in sources for name in re.findall(r'home / "([^"]+)"', text)}
    assert names
    assert names <= OURS


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT)
def test_flows_with_a_planted_fault_are_convicted(tmp_path: Path) -> None:
    flows = [flow for flow in FAULTY if RESUMES or flow != "load-time-in-key"]
    done = proof("--until-fault", "--kills", "50", *flows, home=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    found = verdicts(done.stdout)
    assert list(found) == flows
    assert [flow for flow, said in found.items() if "\n- **" not in said] == []
    assert {file.stem for file in (tmp_path / "proof").iterdir()} == set(flows)


@pytest.mark.slow
def test_fault_is_shown_again_by_the_command_of_the_report(tmp_path: Path) -> None:
    done = proof("--at", "request answered:2", "load-without-key", home=tmp_path)
    assert done.returncode == 1
    assert 'make prove FLOW=load-without-key AT="request answered:2"' in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT)
def test_sound_flow_is_acquitted_and_nothing_of_the_owner_is_touched(tmp_path: Path) -> None:
    before = sorted(settings.home.rglob("*"))
    elsewhere = tmp_path / "elsewhere.log"
    kills = "10" if cluster.IN_THREADS else "4"
    done = proof("--kills", kills, SOUND, home=tmp_path / "home", PLANTED_LOG=str(elsewhere))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing that was compared was lost, doubled or different." in done.stdout
    numbered = ", keys of table planted_numbered" if upserts.WRITES else ""
    varying = f"{numbered}, text of file log of the home".removeprefix(", ")
    assert f"| not compared: they differ from run to run | {varying} |" in done.stdout
    assert f"| not compared: written outside the home (`settings.home`) | {elsewhere} |" in done.stdout
    assert sorted(path.name for path in tmp_path.rglob("*")) == [elsewhere.name, "home", f"{SOUND}.md", "proof"]
    assert sorted(settings.home.rglob("*")) == before


@pytest.mark.parametrize("text", ["two", "0", "-1", "1.5", ""])
def test_number_of_kills_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ProofError, match=f"'{text}' is not a whole number from 1, such as KILLS=50"):
        options([f"--kills={text}"])


@pytest.mark.slow
def test_unknown_flow_is_one_line(tmp_path: Path) -> None:
    done = proof("load-nothing", home=tmp_path)
    assert done.returncode == 2
    assert "there is no flow load-nothing; there are: load-" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_nothing_that_the_environment_names_is_used(tmp_path: Path) -> None:
    mine, nobody = tmp_path / "mine", "127.0.0.1:9"
    (tmp_path / ".env").write_text(f"PREFECT_API_URL=http://{nobody}/api\nPREFECT_API_DATABASE_CONNECTION_URL=no\n")
    places = {"results_dir": str(mine), "results_endpoint": f"http://{nobody}"}
    named = {f"{PREFIX}{name.upper()}": place for name, place in places.items() if name in ProjectSettings.names}
    named |= sink.elsewhere(mine)
    done = proof("--kills", "2", SOUND, home=tmp_path / "home", folder=tmp_path, **named)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not mine.exists()


@pytest.mark.slow
def test_proof_without_a_kill_is_none(tmp_path: Path) -> None:
    done = proof("--at", "claimed:999", SOUND, home=tmp_path)
    assert done.returncode == 2
    assert "no process was killed" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_proof_leaves_nothing_behind(tmp_path: Path, number: int, code: int) -> None:
    command = [sys.executable, "-m", "tests.support.proof", "--packages", "tests.support.planted", SOUND]
    environment = {**os.environ, f"{PREFIX}HOME": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        (place,) = re.findall(r"in (\S+)\.$", process.stdout.readline().strip())
        time.sleep(5)
        process.send_signal(number)
        assert process.wait(TIMEOUT) == code
    assert not Path(place).exists()
    deadline = time.monotonic() + 30
    while any(place.encode() in _environment(file) for file in Path("/proc").glob("[0-9]*/environ")):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.1)


def _environment(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
