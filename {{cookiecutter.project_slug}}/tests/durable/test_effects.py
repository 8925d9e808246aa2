"""Effects outside the database: what a service sees when its answer is lost, or its client is killed."""

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from {{ cookiecutter.package_name }}.durable.effects import post
from {{ cookiecutter.package_name }}.durable.idempotency import idempotency_key

from tests.support.processes import Child


class Service(ThreadingHTTPServer):
    """A service that acts on what is sent, and can break off between its effect and its answer."""

    def __init__(self, honours: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.honours = honours
        """Whether it knows what it has done by the key."""
        self.breaks = 1
        """How many answers are not given."""
        self.keys: list[str] = []
        """Of all requests."""
        self.applied: list[Any] = []
        """The effects."""
        self.reached, self.go_on = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        if not (self.server.honours and key in self.server.keys):
            self.server.applied.append(payload)
        self.server.keys.append(key)
        self.server.reached.set()
        if self.server.breaks:
            self.server.breaks -= 1
            self.server.go_on.wait(30)
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(params=[True])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    with Service(request.param) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


PAYLOAD = {"to": "me@example.com", "amount": 1.5}


@flow
def send(url: str) -> dict[str, Any]:
    # Not the policy's own delays, for this test waits for them.
    found: dict[str, Any] = post.with_options(retry_delay_seconds=0.05)(url, "job", "item", PAYLOAD)
    return found


def send_until_it_works(service: Service) -> None:
    """Send it; where failed tasks are not tried again, by a second run."""
    service.go_on.set()
    if not send(service.url, return_state=True).is_completed():
        send(service.url)


@pytest.mark.usefixtures("api")
def test_lost_answer_has_the_effect_once_where_the_key_is_honoured(service: Service) -> None:
    send_until_it_works(service)
    assert service.applied == [PAYLOAD]
    assert service.keys == [idempotency_key("job", "item", PAYLOAD)] * 2


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("service", [False], indirect=True)
def test_lost_answer_has_the_effect_twice_where_it_is_not(service: Service) -> None:
    send_until_it_works(service)
    assert service.applied == [PAYLOAD, PAYLOAD], "at least once is all that can be promised alone"


CLIENT = """
import sys
from prefect import flow
from {{ cookiecutter.package_name }}.durable.effects import post

@flow
def send(url: str) -> None:
    print(post(url, "job", "item", {"n": 1})["status"])

send(sys.argv[1])
"""


@pytest.mark.usefixtures("api")
def test_client_killed_before_its_result_is_stored_sends_the_same_key_again(service: Service, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    doomed = Child(script, service.url)
    assert service.reached.wait(60)
    doomed.kill()
    assert doomed.end()[0] == -signal.SIGKILL
    service.go_on.set()
    assert Child(script, service.url).end() == (0, "200\n")
    assert service.applied == [{"n": 1}]
    assert service.keys == [idempotency_key("job", "item", {"n": 1})] * 2


KEY = """
from {{ cookiecutter.package_name }}.durable.idempotency import idempotency_key
print(idempotency_key("job", "item", {"b": [1, None, "é"], "a": 1.5}))
"""


def test_key_is_the_same_in_every_process(tmp_path: Path) -> None:
    script = tmp_path / "key.py"
    script.write_text(KEY, encoding="utf-8")
    found = Child(script).end()[1].strip()
    assert found == idempotency_key("job", "item", {"a": 1.5, "b": [1, None, "é"]})
    # Another one would have services do again what they have done.
    assert found == "8587fad5a80937a993a0722fae77cb11d26ab4efb0e536360dc6709dd97ccf3e"


def test_whatever_differs_has_another_key() -> None:
    payloads: list[Any] = [None, 0, False, "", [], {}, "0", 0.0, {"a": 1}, {"a": "1"}, [1, 2], [[1, 2]]]
    names = [("a", "bc"), ("ab", "c"), ("abc", " "), ('a","b', "c"), ("a", 'b","c')]
    keys = {idempotency_key(*name, payload) for name in names for payload in payloads}
    assert len(keys) == len(names) * len(payloads)


@pytest.mark.parametrize(
    "payload", [{1: 2}, (1, 2), {"a": [(1,)]}, float("nan"), float("inf"), b"x", {1, 2}, {None: 1}, object()]
)
def test_payload_that_json_changes_is_refused(payload: Any) -> None:
    with pytest.raises(ValueError, match="the payload of 'item' "):
        idempotency_key("job", "item", payload)
