"""The server ends, or a connection is cut, at any moment: each step takes effect exactly once all the same."""

import random
import socket
import time
from collections.abc import Iterator

import pytest
from psycopg import connect
from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from {{ cookiecutter.package_name }}.durable.checkpoints import Checkpoint
from {{ cookiecutter.package_name }}.durable.upserts import database, database_settings

from tests.support import UnavailableError, sink
from tests.support.crash import HALVES, add, outcome, prepare, work
from tests.support.processes import FORKS
from tests.support.servers import Cuts, cuts

ROUNDS = 60


def lead_to(url: str, patch: pytest.MonkeyPatch) -> None:
    """Let the database be another one."""
    patch.setitem(database_settings.__dict__, "database_url", SecretStr(url))
    sink.release()


def work_on(url: str, keys: list[str]) -> None:
    """Do all steps, again and again while the connection is lost."""
    lead_to(url, pytest.MonkeyPatch())
    while True:
        try:
            return work(Checkpoint("job"), keys)
        except OperationalError:
            time.sleep(0.05)


@pytest.mark.slow
def test_server_that_ends_at_once_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"step-{n}" for n in range(800)]
    folder = sink.new_folder()
    try:
        url = sink.serve(folder).render_as_string(hide_password=False)
    except UnavailableError as error:
        pytest.skip(str(error))
    with monkeypatch.context() as patch:
        lead_to(url, patch)
        prepare(keys)
        sink.release()
        workers = [FORKS.Process(target=work_on, args=(url, keys), daemon=True) for _ in range(2)]
        for worker in workers:
            worker.start()
        times = 0
        for _ in range(3):
            time.sleep(0.3)
            times += all(worker.is_alive() for worker in workers)
            sink.crash(folder)
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
        assert times
        database().dispose()
        assert outcome("job", keys) == ({1: 2 * len(keys)}, True)
        sink.release()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cuts]:
    """What the database's connections go through."""
    url = make_url(database_settings.database_url.get_secret_value())
    with connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        host, port = connection.info.host, connection.info.port

    def target() -> socket.socket:
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    with cuts(target) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.server_address[1], query={})
        with monkeypatch.context() as patch:
            lead_to(through.render_as_string(hide_password=False), patch)
            yield proxy
            sink.release()
        sink.release()


def do(key: str) -> bool:
    """Do a step; return whether it was left to be done."""
    with Checkpoint("job").step(key) as connection:
        if connection is not None:
            for half in HALVES:
                add(connection, key, half)
        return connection is not None


def test_commit_whose_answer_is_lost_is_no_error(proxy: Cuts) -> None:
    prepare(["a"])
    proxy.after = b"COMMIT"
    assert do("a")
    assert proxy.cuts == 1
    assert outcome("job", ["a"]) == ({1: 2}, True)
    assert not do("a")


def test_commit_that_is_lost_is_an_error_and_the_next_try_does_the_step(proxy: Cuts) -> None:
    prepare(["a"])
    proxy.before = b"COMMIT"
    with pytest.raises(OperationalError):
        do("a")
    assert proxy.cuts == 1
    assert outcome("job", ["a"]) == ({0: 2}, True)
    assert do("a")
    assert outcome("job", ["a"]) == ({1: 2}, True)


def test_connection_cut_at_any_byte(proxy: Cuts) -> None:
    keys = [f"step-{n}" for n in range(ROUNDS)]
    prepare(keys)
    dice = random.Random(13)
    failed = 0
    for key in keys:
        proxy.bytes_left = dice.randrange(1, 1200)
        try:
            do(key)
        except DBAPIError:
            failed += 1
            proxy.bytes_left = None
            do(key)
    proxy.bytes_left = None
    assert proxy.cuts > ROUNDS // 2
    assert failed > 5
    assert outcome("job", keys) == ({1: 2 * len(keys)}, True)
