"""What the tests of the outbox send, and a receiver that can be killed, be busy, refuse, and forget keys."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from {{ cookiecutter.package_name }}.durable import (
    Counts,
    RunReport,
    Step,
    durable_flow,
    durable_task,
    outbox,
    run_chunks,
    upsert,
)
from {{ cookiecutter.package_name }}.durable.errors import EffectsNotDeliveredError
from {{ cookiecutter.package_name }}.durable.settings import settings
from {{ cookiecutter.package_name }}.durable.upserts import transaction

from .toy import toys

FLOW = "send-toys"
SENDER_POINTS = ("committed", "before a request", "after a request", "before the note", "noted", "note committed")
"""Where the process that sends can be killed, in their order."""
RECEIVER_POINTS = ("before the effect", "after the effect")
"""Where the receiver can be killed: it has read a request, and it has not answered it."""

Answer = tuple[int, dict[str, str], str]


class Receiver(ThreadingHTTPServer):
    """A receiver of effects. It keeps what it is sent in a file, so that it can be killed and started again.

    Args:
        file: where it keeps that.
        port: 0 for a free one.
        honours: whether it knows by the key what it has done.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, file: Path, port: int = 0, honours: bool = True) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.honours = honours
        self.mutex = threading.Lock()
        self.file = file
        self.answer: Callable[[Any, int], Answer] = lambda payload, time: (200, {}, "")
        """What it answers to a payload that it is sent for the so many-th time; it acts if the status is 200."""
        self.delay = 0.0
        """Seconds before each answer."""
        self.at: Callable[[str], None] = lambda point: None
        self.headers_seen: list[dict[str, str]] = []
        file.touch()
        self.times = Counter(record["key"] for record in records(file))
        self.known = {record["key"] for record in records(file) if record["applied"]}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/effects"

    @property
    def applied(self) -> list[Any]:
        """The effects, in their order."""
        return [record["payload"] for record in records(self.file) if record["applied"]]

    @property
    def requests(self) -> list[Any]:
        """The payloads of all requests, in their order."""
        return [record["payload"] for record in records(self.file)]

    def act(self, key: str, payload: Any) -> Answer:
        with self.mutex:
            self.times[key] += 1
            answer = self.answer(payload, self.times[key])
            self.at("before the effect")
            applied = answer[0] == 200 and not (self.honours and key in self.known)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "payload": payload, "applied": applied}) + "\n")
            if applied:
                self.known.add(key)
            self.at("after the effect")
        time.sleep(self.delay)
        return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Receiver

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.headers_seen.append(dict(self.headers))
        status, headers, body = self.server.act(self.headers["Idempotency-Key"], payload)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body.encode()))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None: ...


def records(file: Path) -> list[dict[str, Any]]:
    """What a receiver has kept."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@contextmanager
def receiving(file: Path, honours: bool = True) -> Iterator[Receiver]:
    """Yield a receiver that runs in this process."""
    with Receiver(file, honours=honours) as receiver:
        threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True).start()
        yield receiver
        receiver.shutdown()


def receive(file: Path, port: int, honours: bool, point: str = "", hit: int = 0) -> None:
    """Be a receiver, in a process of its own, until killed: at a point, the so many-th time that it comes to it."""
    with Receiver(file, port, honours) as receiver:
        receiver.at = killer(point, hit)
        receiver.serve_forever()


def killer(point: str, hit: int) -> Callable[[str], None]:
    """What a process calls at each point: it is killed at the given one, the so many-th time."""
    hits = 0

    def at(here: str) -> None:
        nonlocal hits
        hits += here == point
        if here == point and hits == hit:
            (settings.home / f"{os.getpid()}.hit").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def items(number: int, first: int = 0) -> list[str]:
    return [f"item-{place:04}" for place in range(first, first + number)]


def work(job: str, url: str, steps: int, each: int, lanes: int = 0, point: str = "", hit: int = 1) -> None:
    """Do steps that send, then deliver, as a run does; be killed at a point."""
    at = killer(point, hit)
    post, note, batch = httpx.Client.post, outbox._note, outbox._deliver_batch

    def post_at(*args: Any, **kwargs: Any) -> httpx.Response:
        at("before a request")
        answer = post(*args, **kwargs)
        at("after a request")
        return answer

    def note_at(*args: Any) -> None:
        at("before the note")
        note(*args)
        at("noted")

    def batch_at(*args: Any) -> Any:
        found = batch(*args)
        at("note committed")
        return found

    httpx.Client.post = post_at  # type: ignore[method-assign]
    vars(outbox).update(_note=note_at, _deliver_batch=batch_at, BATCH=10)
    for number in range(steps):
        do_step(job, f"step-{number}", url, items(each, each * number), lanes)
        at("committed")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            return outbox.attempt(job, lambda _: None)
        except EffectsNotDeliveredError:
            # The receiver is down, until the test starts it again.
            time.sleep(0.1)
    raise TimeoutError


def do_step(job: str, key: str, url: str, names: list[str], lanes: int = 0) -> None:
    """Do a step that sends effects, with so many ordering keys if any."""
    step = Step(job, key, "", key)
    with step as connection:
        if connection is not None:
            for place, name in enumerate(names):
                step.send(url, name, {"item": name}, ordering_key=f"lane-{place % lanes}" if lanes else None)


def row_count(job: str) -> int:
    """The effects of a job that the outbox knows."""
    with transaction() as connection:
        rows = connection.execute(outbox.outbox.select().where(outbox.outbox.c.job == job)).all()
    return len(rows)


@dataclass(frozen=True)
class Parcel:
    """A chunk of toys, of which each is sent."""

    label: str
    url: str
    names: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.label


@durable_task(version="1")
def send_parcel(chunk: Parcel, step: Step) -> Counts | None:
    with step as connection:
        if connection is None:
            return None
        rows = [{"chunk": chunk.label, "name": name, "number": 1} for name in chunk.names]
        upsert(connection, toys, rows)
        for name in chunk.names:
            step.send(chunk.url, name, {"item": name})
    return {"read": len(chunk.names)}


@durable_flow(name=FLOW)
def send_toys(url: str, parcels: int = 2, broken: bool = False) -> RunReport:
    """Send parcels of three toys, and one that cannot be sent."""
    chunks = [Parcel(f"parcel-{number}", url, tuple(items(3, 3 * number))) for number in range(parcels)]
    chunks += [Parcel("broken", "nowhere", ("item",))] if broken else []
    return run_chunks(send_parcel, chunks, job="toys")
