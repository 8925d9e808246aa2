"""The outbox: whoever is killed, no effect is lost, and each is applied once where its key is honoured."""

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from sqlalchemy import select

from {{ cookiecutter.package_name }}.durable import (
    InputError,
    checkpoints,
    delivery,
    discovery,
    outbox,
    results,
    upserts,
)
from {{ cookiecutter.package_name }}.durable.cli import main
from {{ cookiecutter.package_name }}.durable.delivery import delivery_headers
from {{ cookiecutter.package_name }}.durable.errors import ChunksFailedError, EffectsNotDeliveredError
from {{ cookiecutter.package_name }}.durable.idempotency import idempotency_key
from {{ cookiecutter.package_name }}.durable.resume import resume_dead_runs
from {{ cookiecutter.package_name }}.durable.retries import RETRIES
from {{ cookiecutter.package_name }}.durable.steps import Step
from {{ cookiecutter.package_name }}.durable.upserts import database, transaction

from tests.support import sending, sink
from tests.support.processes import FORKS, TIMEOUT, Child
from tests.support.sending import (
    FLOW,
    RECEIVER_POINTS,
    SENDER_POINTS,
    Receiver,
    do_step,
    items,
    receiving,
    row_count,
    send_toys,
)
from tests.support.toy import table

pytestmark = [pytest.mark.usefixtures("api")] if checkpoints.IN_STORE and results.NEEDS_SERVER else []

JOB = f"{FLOW}/toys"
NOWHERE = "http://127.0.0.1:9/"
"""A port on which nobody listens."""


@pytest.fixture(autouse=True)
def tables() -> None:
    discovery.flows()
    upserts.prepare()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path / "received") as receiver:
        yield receiver


@pytest.fixture
def headers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The functions of `delivery_headers`, empty for a test."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(delivery, "_headers", found)
    return found


def attempt(job: str = JOB) -> int:
    """Try to deliver once; return the number of effects that were delivered."""
    numbers: list[int] = []
    with suppress(EffectsNotDeliveredError):
        outbox.attempt(job, numbers.append)
    return sum(numbers)


def patience(error: BaseException) -> float | None:
    """How long the retry policy waits after an error, or None if it is not worth a retry."""
    found: float | None = import_module("{{ cookiecutter.package_name }}.durable.transient").patience(error)
    return found


def names(payloads: list[Any]) -> list[str]:
    return [payload["item"] for payload in payloads]


# What is sent


def test_effects_are_delivered_after_the_commit_with_their_keys(receiver: Receiver) -> None:
    do_step(JOB, "step", receiver.url, items(3))
    assert receiver.requests == [], "nothing is sent in the step"
    assert outbox.backlog(JOB) == {"left": 3, "refused": 0}
    assert attempt() == 3
    assert sorted(names(receiver.applied)) == items(3)
    keys = {seen["Idempotency-Key"] for seen in receiver.headers_seen}
    assert keys == {idempotency_key(JOB, item, {"item": item}) for item in items(3)}
    assert outbox.backlog(JOB) == {"left": 0, "refused": 0}
    assert attempt() == 0


def test_step_that_rolls_back_sends_nothing() -> None:
    step = Step(JOB, "step", "", "step")

    def fail() -> None:
        with step:
            step.send(NOWHERE, "item", {})
            raise ValueError("bad luck")

    with pytest.raises(ValueError, match="bad luck"):
        fail()
    assert row_count(JOB) == 0
    with step as connection:
        assert connection is not None
    assert row_count(JOB) == 0, "a repeat does not send what was rolled back"


def test_step_that_is_repeated_sends_nothing_twice(receiver: Receiver) -> None:
    for number, delivered in enumerate([3, 0, 0]):
        do_step(JOB, f"corrected-{number}", receiver.url, items(3))
        assert attempt() == delivered
    assert len(receiver.requests) == 3
    do_step(JOB, "changed", receiver.url, items(4))
    assert attempt() == 1, "what is new is sent"
    assert row_count(JOB) == 4


def test_delivered_effect_keeps_its_row_without_the_payload(receiver: Receiver) -> None:
    do_step(JOB, "step", receiver.url, items(1))
    attempt()
    with transaction() as connection:
        row = connection.execute(select(outbox.outbox)).one()
    assert row.payload is None
    assert row.delivered_at is not None


def test_one_item_may_go_to_two_receivers(receiver: Receiver) -> None:
    do_step(JOB, "step", receiver.url, ["item"])
    do_step(JOB, "another", f"{receiver.url}/other", ["item"])
    assert attempt() == 2


def test_jobs_do_not_deliver_each_others_effects(receiver: Receiver) -> None:
    do_step(JOB, "step", receiver.url, items(1))
    assert attempt("another/job") == 0
    assert outbox.backlog("another/job") == {"left": 0, "refused": 0}
    assert attempt() == 1


@pytest.mark.parametrize(
    ("url", "item", "payload", "message"),
    [
        ("ftp://host/", "item", {}, "must begin with https:// or http://"),
        ("/path", "item", {}, "must begin with https:// or http://"),
        ("http://a:secret@host/", "item", {}, "holds a password; use delivery_headers"),
        ("http://host/" + "x" * 2000, "item", {}, "at most 2000 are kept"),
        ("http://host:port/", "item", {}, "cannot be read"),
        ("http://host/", "", {}, "the name of the item is empty"),
        ("http://host/", "x" * 201, {}, "at most 200 are kept"),
        ("http://host/", "item", (1, 2), "does not come back from JSON"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_rolls_the_step_back(
    url: str, item: str, payload: Any, message: str
) -> None:
    def send() -> None:
        step = Step(JOB, "step", "", "step")
        with step:
            step.send("http://host/", "other", {})
            step.send(url, item, payload)

    with pytest.raises(ValueError, match=message) as raised:
        send()
    assert "secret" not in str(raised.value)
    assert row_count(JOB) == 0


def test_sending_outside_of_the_step_is_refused() -> None:
    with pytest.raises(RuntimeError, match="with step as connection"):
        Step(JOB, "step", "", "step").send(NOWHERE, "item", {})


def test_database_of_an_older_version_gets_the_table(receiver: Receiver) -> None:
    outbox.outbox.drop(database())
    upserts.prepare()
    do_step(JOB, "step", receiver.url, items(1))
    assert attempt() == 1


# Receivers that fail


def test_what_fails_is_left_and_delivered_by_a_later_attempt(receiver: Receiver) -> None:
    receiver.answer = lambda payload, time: (500 if payload["item"] == "item-0001" and time < 3 else 200, {}, "")
    do_step(JOB, "step", receiver.url, items(9))
    assert [attempt(), attempt(), attempt()] == [8, 0, 1]
    assert sorted(names(receiver.applied)) == items(9)


def test_receiver_that_is_down_is_left_alone_after_a_few_failures(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(delivery.delivery_settings.__dict__, "outbox_requests", 1)
    do_step(JOB, "step", NOWHERE, items(300))
    do_step(JOB, "step-2", receiver.url, items(3))
    tried: list[str] = []
    post = httpx.Client.post

    def note(self: httpx.Client, url: str, **rest: Any) -> httpx.Response:
        tried.append(url)
        return post(self, url, **rest)

    monkeypatch.setattr(httpx.Client, "post", note)
    with pytest.raises(EffectsNotDeliveredError, match=r"127\.0\.0\.1:9: .*refused"):
        outbox.attempt(JOB, lambda _: None)
    assert tried.count(NOWHERE) == delivery.FAILURES_IN_A_ROW
    assert len(receiver.applied) == 3, "others get theirs"
    assert outbox.backlog(JOB)["left"] == 300


@pytest.mark.parametrize("status", [429, 503, 401])
def test_status_that_concerns_all_requests_stops_them(
    status: int, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(delivery.delivery_settings.__dict__, "outbox_requests", 1)
    receiver.answer = lambda payload, time: (status, {"Retry-After": "7"}, "")
    do_step(JOB, "step", receiver.url, items(20))
    with pytest.raises(EffectsNotDeliveredError, match=f"{receiver.url.removesuffix('/effects')}: {status}") as raised:
        outbox.attempt(JOB, lambda _: None)
    assert len(receiver.requests) == 1
    assert outbox.backlog(JOB) == {"left": 20, "refused": 0}, "none is set aside"
    if RETRIES:
        assert patience(raised.value) == (None if status == 401 else 7)


@pytest.mark.skipif(not RETRIES, reason="failed tasks are not tried again")
@pytest.mark.parametrize(("status", "may_pass"), [(500, True), (502, True), (408, True), (425, True), (501, False)])
def test_retry_policy_judges_what_failed(status: int, may_pass: bool, receiver: Receiver) -> None:
    receiver.answer = lambda payload, time: (status, {}, "")
    do_step(JOB, "step", receiver.url, items(1))
    with pytest.raises(EffectsNotDeliveredError) as raised:
        outbox.attempt(JOB, lambda _: None)
    assert patience(raised.value) == (0 if may_pass else None)


@pytest.mark.skipif(not RETRIES, reason="failed tasks are not tried again")
def test_receiver_that_is_down_is_worth_a_retry() -> None:
    do_step(JOB, "step", NOWHERE, items(1))
    with pytest.raises(EffectsNotDeliveredError) as raised:
        outbox.attempt(JOB, lambda _: None)
    assert patience(raised.value) == 0


def test_slow_receiver_gets_several_requests_at_a_time(receiver: Receiver) -> None:
    receiver.delay = 0.2
    do_step(JOB, "step", receiver.url, items(16))
    begin = time.monotonic()
    assert attempt() == 16
    assert time.monotonic() - begin < 16 * receiver.delay / 2


def test_answer_that_comes_too_late_is_asked_for_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "TIMEOUT", 0.2)
    receiver.delay = 0.6
    do_step(JOB, "step", receiver.url, items(1))
    assert attempt() == 0
    receiver.delay = 0
    assert attempt() == 1
    assert len(receiver.requests) == 2
    assert names(receiver.applied) == items(1)


@pytest.mark.parametrize("status", [400, 404, 409, 422, 301])
def test_refused_effect_is_set_aside_with_the_reason_and_sent_again_by_hand(status: int, receiver: Receiver) -> None:
    receiver.answer = lambda payload, time: (status if payload["item"] == "item-0001" else 200, {}, "no\nsuch  toy")
    do_step(JOB, "step", receiver.url, items(3))
    assert attempt() == 2
    assert outbox.backlog(JOB) == {"left": 0, "refused": 1}
    assert attempt() == 0
    assert len(receiver.requests) == 3, "it is not sent again by itself"
    first, reason, last = outbox.status()
    assert first == f"effects of {JOB}: 0 left, 1 refused"
    assert reason.startswith(f"  'item-0001' was refused: {status} ")
    assert reason.endswith(": no such toy")
    assert last == f"  `make resend JOB={JOB}` sends refused effects again"
    with pytest.raises(EffectsNotDeliveredError, match="1 refused, see `make status`"):
        outbox.resend(JOB)
    receiver.answer = lambda payload, time: (200, {}, "")
    assert outbox.resend(JOB) == f"effects of {JOB}: 1 delivered"
    assert outbox.status() == []
    with pytest.raises(InputError, match="no effects of a job"):
        outbox.resend(JOB)


def test_refused_effects_may_be_tolerated(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.answer = lambda payload, time: (400, {}, "")
    do_step(JOB, "step", receiver.url, items(2))
    attempt()
    with pytest.raises(EffectsNotDeliveredError):
        outbox.check(JOB)
    monkeypatch.setitem(outbox.outbox_settings.__dict__, "max_refused", 2)
    outbox.check(JOB)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["project", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def test_command_line_shows_what_is_left_and_sends_it_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.answer = lambda payload, time: (400 if payload["item"] == "item-0000" else 503, {}, "")
    do_step(JOB, "step", receiver.url, items(2), lanes=1)
    attempt()
    assert call(monkeypatch, "status") == 0
    refused = "  'item-0000' was refused: 400 Bad Request\n"
    assert f"effects of {JOB}: 1 left, 1 refused\n{refused}" in capsys.readouterr().out
    assert call(monkeypatch, "resend", JOB) == 1
    assert capsys.readouterr().err == (
        f"effects of {JOB}: 1 not delivered (they wait behind a refused one with the same ordering key);"
        f" 1 refused, see `make status`, then `make resend JOB={JOB}`\n"
    )
    receiver.answer = lambda payload, time: (200, {}, "")
    assert call(monkeypatch, "resend", JOB) == 0
    assert capsys.readouterr().out == f"effects of {JOB}: 2 delivered\n"
    assert call(monkeypatch, "resend", JOB) == 2
    assert "no effects of a job" in capsys.readouterr().err


# Order


def lanes(payloads: list[Any], count: int, each: int) -> dict[int, list[str]]:
    """The items by their ordering keys, as `do_step` gives these."""
    found: dict[int, list[str]] = {lane: [] for lane in range(count)}
    for name in names(payloads):
        found[int(name.removeprefix("item-")) % each % count].append(name)
    return found


def test_order_is_kept_within_an_ordering_key(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "BATCH", 7)
    # Each third effect fails at first.
    receiver.answer = lambda payload, time: (500 if int(payload["item"][-4:]) % 3 == 0 and time == 1 else 200, {}, "")
    for step in range(3):
        do_step(JOB, f"step-{step}", receiver.url, items(20, 20 * step), lanes=4)
    for _ in range(60):
        if not outbox.backlog(JOB)["left"]:
            break
        attempt()
    found = lanes(receiver.applied, 4, 20)
    assert all(lane == sorted(lane) for lane in found.values())
    assert sum(map(len, found.values())) == 60


def test_refused_effect_holds_those_behind_it(receiver: Receiver) -> None:
    receiver.answer = lambda payload, time: (400 if payload["item"] == "item-0002" else 200, {}, "")
    do_step(JOB, "step", receiver.url, items(8), lanes=2)
    assert attempt() == 5
    assert lanes(receiver.applied, 2, 8) == {0: ["item-0000"], 1: items(8)[1::2]}
    assert outbox.backlog(JOB) == {"left": 2, "refused": 1}
    with pytest.raises(EffectsNotDeliveredError, match="behind a refused one"):
        outbox.attempt(JOB, lambda _: None)
    receiver.answer = lambda payload, time: (200, {}, "")
    outbox.resend(JOB)
    assert lanes(receiver.applied, 2, 8)[0] == items(8)[0::2]


# Headers


def test_headers_are_given_at_delivery_and_kept_nowhere(
    receiver: Receiver, headers: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    @delivery_headers(receiver.url)
    def ours() -> dict[str, str]:
        calls.append(1)
        return {"Authorization": "Bearer hush-hush", "Idempotency-Key": "not mine"}

    @delivery_headers("http://127.0.0.1")
    def of_another_port() -> dict[str, str]:
        return {"Authorization": "Bearer not-for-you"}

    receiver.answer = lambda payload, time: (400, {}, f"{receiver.headers_seen[-1]['Authorization']} is wrong")
    do_step(JOB, "step", receiver.url, items(3))
    assert attempt() == 0
    assert {seen["Authorization"] for seen in receiver.headers_seen} == {"Bearer hush-hush"}
    assert "not mine" not in {seen["Idempotency-Key"] for seen in receiver.headers_seen}
    assert calls == [1], "once a batch"
    with transaction() as connection:
        rows = connection.execute(select(outbox.outbox)).all()
    assert "hush-hush" not in f"{rows} {outbox.status()} {caplog.text}"
    assert "400 Bad Request: … … is wrong" in outbox.status()[1]


def test_header_that_cannot_be_sent_is_not_quoted(receiver: Receiver, headers: dict[str, Any]) -> None:
    headers[receiver.url] = lambda: {"Authorization": "Bearer hush-hush\n"}
    do_step(JOB, "step", receiver.url, items(1))
    with pytest.raises(ValueError, match=r"the header Authorization of .* is not printable ASCII") as raised:
        outbox.attempt(JOB, lambda _: None)
    assert "hush" not in str(raised.value)
    assert outbox.backlog(JOB)["left"] == 1


# Kills


def start(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    sink.release()
    process = FORKS.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


def start_receiver(file: Path, *arguments: Any) -> tuple[BaseProcess, int]:
    """Start a receiver in a process of its own, on a port that is free."""
    with Receiver(file) as free:
        port = free.server_address[1]
    return start(sending.receive, file, port, *arguments), port


def assert_all_applied(file: Path, number: int, honours: bool) -> None:
    counts = Counter(record["payload"]["item"] for record in sending.records(file) if record["applied"])
    assert sorted(counts) == items(number), "none is lost, none is made up"
    if honours:
        assert set(counts.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("honours", [True, False])
@pytest.mark.parametrize("point", SENDER_POINTS)
def test_sender_killed_at_any_point_loses_nothing(point: str, honours: bool, tmp_path: Path) -> None:
    with receiving(tmp_path / "received", honours) as receiver:
        hit = 2 if point in ("committed", "before the note", "noted", "note committed") else 15
        doomed = start(sending.work, JOB, receiver.url, 3, 15, 5, point, hit)
        doomed.join(TIMEOUT)
        assert doomed.exitcode == -signal.SIGKILL, f"the process did not come to {point!r}"
        requests = len(receiver.requests)
        finishing = start(sending.work, JOB, receiver.url, 3, 15, 5)
        finishing.join(TIMEOUT)
        assert finishing.exitcode == 0
        assert_all_applied(receiver.file, 45, honours)
        assert requests >= (0 if point == "committed" else 10)
        if honours:
            found = lanes(receiver.applied, 5, 15)
            assert all(lane == sorted(lane) for lane in found.values())
        if point in ("after a request", "before the note", "noted"):
            assert len(receiver.requests) > 45, "what was not noted is sent again, with the same key"
            assert honours or len(receiver.applied) > 45, "at least once is all that can be promised alone"


@pytest.mark.slow
@pytest.mark.parametrize("honours", [True, False])
@pytest.mark.parametrize("point", RECEIVER_POINTS)
def test_receiver_killed_at_any_point_loses_nothing(point: str, honours: bool, tmp_path: Path) -> None:
    file = tmp_path / "received"
    doomed, port = start_receiver(file, honours, point, 15)
    sender = start(sending.work, JOB, f"http://127.0.0.1:{port}/", 3, 15)
    doomed.join(TIMEOUT)
    assert doomed.exitcode == -signal.SIGKILL, f"the receiver did not come to {point!r}"
    successor = start(sending.receive, file, port, honours)
    sender.join(TIMEOUT)
    assert sender.exitcode == 0
    assert_all_applied(file, 45, honours)
    successor.kill()
    successor.join()


@pytest.mark.slow
def test_processes_killed_at_random_apply_each_effect_once(tmp_path: Path) -> None:
    dice = random.Random(7)
    file = tmp_path / "received"
    steps = 12 * sink.WRITERS
    receiver, port = start_receiver(file, True)
    url = f"http://127.0.0.1:{port}/"
    senders = [start(sending.work, JOB, url, steps, 25, 5) for _ in range(sink.WRITERS)]
    killed = 0
    for _ in range(25):
        time.sleep(dice.uniform(0.02, 0.25))
        if dice.random() < 0.3:
            receiver.kill()
            receiver.join()
            receiver = start(sending.receive, file, port, True)
            continue
        place = dice.randrange(sink.WRITERS)
        senders[place].kill()
        senders[place].join()
        killed += senders[place].exitcode == -signal.SIGKILL
        senders[place] = start(sending.work, JOB, url, steps, 25, 5)
    for sender in senders:
        sender.join(TIMEOUT)
        assert sender.exitcode == 0
    assert killed >= 5
    assert_all_applied(file, 25 * steps, honours=True)
    receiver.kill()
    receiver.join()
    assert outbox.backlog(JOB) == {"left": 0, "refused": 0}


@pytest.mark.slow
@pytest.mark.skipif(sink.WRITERS == 1, reason="one process at a time has the database")
def test_two_processes_that_deliver_at_once_send_nothing_twice(tmp_path: Path) -> None:
    with receiving(tmp_path / "received", honours=False) as receiver:
        for step in range(4):
            do_step(JOB, f"step-{step}", receiver.url, items(50, 50 * step), lanes=5)
        senders = [start(sending.work, JOB, receiver.url, 0, 0) for _ in range(sink.WRITERS)]
        for sender in senders:
            sender.join(TIMEOUT)
            assert sender.exitcode == 0
        assert len(receiver.requests) == 200
        assert all(lane == sorted(lane) for lane in lanes(receiver.applied, 5, 50).values())


# Runs


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    monkeypatch.setattr(discovery, "PACKAGES", [*discovery.PACKAGES, sending.__name__])
    task = outbox.delivery_task().with_options(retry_delay_seconds=0.05)
    monkeypatch.setattr(outbox, "delivery_task", lambda: task)


@pytest.mark.usefixtures("runs")
def test_run_delivers_what_its_steps_sent(receiver: Receiver) -> None:
    report = send_toys(receiver.url)
    assert report["effects"] == {"delivered": 6, "left": 0, "refused": 0}
    assert sorted(names(receiver.applied)) == items(6)
    assert len(table()) == 6
    with get_client(sync_client=True) as client:
        ours = ArtifactFilter(key=ArtifactFilterKey(any_=[f"{FLOW}-chunks"]))
        descriptions = {artifact.description or "" for artifact in client.read_artifacts(artifact_filter=ours)}
    assert any("Effects: 6 delivered, 0 left, 0 refused." in description for description in descriptions)
    again = send_toys(receiver.url)
    assert again["effects"] == {}
    assert len(receiver.requests) == 6


@pytest.mark.usefixtures("runs")
def test_run_that_cannot_deliver_fails_and_the_next_one_delivers(receiver: Receiver) -> None:
    receiver.answer = lambda payload, time: (500 if payload["item"] == "item-0004" else 200, {}, "")
    state = send_toys(receiver.url, return_state=True)
    assert state.is_failed()
    reason = f"{receiver.url.removesuffix('/effects')}: 500 Internal Server Error"
    with pytest.raises(EffectsNotDeliveredError) as raised:
        state.result()
    assert str(raised.value) == f"effects of {JOB}: 1 not delivered ({reason}), run again for them"
    assert len(table()) == 6, "the rows are written"
    assert names(receiver.requests).count("item-0004") == 1 + len(RETRIES.get("retry_delay_seconds", []))
    receiver.answer = lambda payload, time: (200, {}, "")
    report = send_toys(receiver.url)
    assert report["effects"] == {"delivered": 1, "left": 0, "refused": 0}
    assert len(receiver.applied) == 6


@pytest.mark.usefixtures("runs")
@pytest.mark.skipif(not RETRIES, reason="failed tasks are not tried again")
def test_run_tries_again_and_waits_as_it_is_asked_to(receiver: Receiver) -> None:
    receiver.answer = lambda payload, time: (200, {}, "") if time > 1 else (429, {"Retry-After": "1"}, "")
    receiver.delay = 0.1
    begin = time.monotonic()
    report = send_toys(receiver.url, parcels=1)
    assert report["effects"] == {"delivered": 3, "left": 0, "refused": 0}
    assert time.monotonic() - begin > 1


@pytest.mark.usefixtures("runs")
def test_run_with_refused_effects_fails_until_they_are_settled(receiver: Receiver) -> None:
    receiver.answer = lambda payload, time: (422 if payload["item"] == "item-0001" else 200, {}, "")
    message = f"effects of {JOB}: 1 refused, see `make status`, then `make resend JOB={JOB}`"
    for _ in range(2):
        with pytest.raises(EffectsNotDeliveredError) as raised:
            send_toys(receiver.url)
        assert str(raised.value) == message
    receiver.answer = lambda payload, time: (200, {}, "")
    outbox.resend(JOB)
    assert send_toys(receiver.url)["effects"] == {}
    assert len(receiver.applied) == 6


@pytest.mark.usefixtures("runs")
def test_run_that_fails_twice_over_says_both(receiver: Receiver) -> None:
    receiver.answer = lambda payload, time: (422 if payload["item"] == "item-0001" else 200, {}, "")
    with pytest.raises(ChunksFailedError) as raised:
        send_toys(receiver.url, broken=True)
    failed, refused = str(raised.value).splitlines()
    assert failed.startswith("1 of 3 chunks failed, the first, ")
    assert refused == f"effects of {JOB}: 1 refused, see `make status`, then `make resend JOB={JOB}`"


KILLED = """
import os
import signal
import sys

import httpx
from {{ cookiecutter.package_name }}.durable import discovery

from tests.support import sending

discovery.PACKAGES.append(sending.__name__)
post = httpx.Client.post


def post_once(*args, **kwargs):
    post(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)


# The processes of a cluster import this file too.
if __name__ == "__main__":
    httpx.Client.post = post_once
    sending.send_toys(sys.argv[1])
"""


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("by", ["resume", "a new run"])
def test_run_that_is_killed_at_delivery_is_finished(by: str, receiver: Receiver, tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    sink.release()
    assert Child(script, receiver.url).end()[0] == -signal.SIGKILL
    assert outbox.backlog(JOB) == {"left": 6, "refused": 0}
    reports: list[Any] = []
    if by == "resume":
        assert resume_dead_runs(reports.append)
    else:
        reports.append(send_toys(receiver.url))
    assert reports[0]["effects"] == {"delivered": 6, "left": 0, "refused": 0}
    assert sorted(names(receiver.applied)) == items(6), "the effects of requests that were not noted are not doubled"
    assert len(receiver.requests) > 6
