"""What the template says of Prefect is tried against the Prefect that is pinned.

A claim is a test: its docstring is the sentence, and `claim` names the files that rely on it. A sentence in such a file
states the pinned minor version of Prefect, so that a reader knows with which it was tried. `test_snippets.py` does the
same for `docs/from-the-snippet.md`.
"""

import asyncio
import inspect
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import httpx
import pytest
from conftest import START_TIMEOUT, answers
from prefect import flow, get_client, task
from prefect.blocks.core import Block
from prefect.cache_policies import DEFAULT, INPUTS, CacheKeyFnPolicy
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.cli.flow_run import retry
from prefect.filesystems import LocalFileSystem
from prefect.flows import load_flow_from_entrypoint
from prefect.locking.filesystem import FileSystemLockManager
from prefect.locking.memory import MemoryLockManager
from prefect.settings import (
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK,
    PREFECT_UI_URL,
    temporary_settings,
)
from prefect.settings.models.flows import FlowsSettings
from prefect.states import Crashed, Failed, Running, Scheduled
from prefect.tasks import exponential_backoff
from prefect.transactions import transaction
from prefect.utilities.math import clamped_poisson_interval
from prefect.utilities.urls import url_for
from pydantic import ValidationError
from variants import ROOT, only_all

F = TypeVar("F", bound=Callable[..., None])
T = TypeVar("T")
PINNED = re.findall(r"(?m)^prefect==(.*)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"))[0]
PROJECT = "{{cookiecutter.project_slug}}"
PACKAGE = f"{PROJECT}/src/{{{{cookiecutter.package_name}}}}/durable"
TESTS = f"{PROJECT}/tests/durable"
STATED = re.compile(r"Prefect\s+v?(\d+(?:\.\d+)*)")
OLDER = {
    "CHANGELOG.md": "tells what was",
    "benchmarks/README.md": "names the version that was measured",
    "docs/proof.md": "names the version that ran",
}
"""Files that may state another version, and why."""
TOLD = {
    "docs/from-the-snippet.md": "tried by test_snippets.py",
    "cookiecutter.json": "the prompt for the Python",
    "tests/test_prefect_claims.py": "has the claims",
}
"""Files whose statements are no claims of this module, and why."""

claims: Counter[str] = Counter()
"""How many claims name a file, by its path."""


def claim(*files: str) -> Callable[[F], F]:
    """Have a test try a claim that these files make or rely on."""

    def decorate(function: F) -> F:
        assert function.__doc__, "the claim"
        claims.update(files)
        return pytest.mark.usefixtures("prefect_here")(function)

    return decorate


def run(work: Callable[[], T]) -> T:
    """Do `work` in a flow run of its own; return what it returns."""
    found = []

    @flow
    def job() -> None:
        found.append(work())

    job()
    return found[0]


def calls_of(function: Callable[..., Any], runs: int = 1, **options: Any) -> int:
    """Return how often a task calls its function, which takes no arguments, in so many flow runs."""
    calls = []

    def counted() -> Any:
        calls.append(1)
        return function()

    # Each has a name of its own: nothing is found that another test has stored.
    counted.__qualname__ = f"{function.__qualname__}-{random.getrandbits(64)}"
    work = task(**options)(counted)
    for _ in range(runs):
        run(lambda: work(return_state=True))
    return len(calls)


def fail() -> None:
    raise TimeoutError


def one() -> int:
    return 1


def same(day: int) -> int:
    return day


def results_in(folder: Path) -> int:
    """Return how many results a folder holds."""
    return sum(path.is_file() for path in folder.rglob("*"))


# Results


@claim(f"{PACKAGE}/results/s3.py", f"{PACKAGE}/results/gcs.py", f"{PACKAGE}/results/azure.py")
def test_unsaved_block_is_refused(tmp_path: Path) -> None:
    """An unsaved block as `result_storage` raises a TypeError when the task is made; a path does not."""
    with pytest.raises(TypeError, match="must be persisted server-side"):
        task(result_storage=LocalFileSystem(basepath=str(tmp_path)))(fail)
    task(result_storage=tmp_path)(fail)


@claim(
    f"{PACKAGE}/tasks.py",
    f"{PACKAGE}/results/s3.py",
    f"{PACKAGE}/results/gcs.py",
    f"{PACKAGE}/results/azure.py",
    f"{TESTS}/test_results/local.py",
    f"{TESTS}/test_results/shared+s3+gcs+azure/test_outages.py",
)
def test_task_completes_whose_result_cannot_be_written(tmp_path: Path) -> None:
    """A task completes whose result cannot be written; its record says that it is not persisted."""
    (tmp_path / "file").touch()

    for name, persisted in (("file", False), ("folder", True)):
        work = task(persist_result=True, result_storage=tmp_path / name)(one)
        state = run(partial(work, return_state=True))
        assert state.is_completed()
        assert state.data.is_persisted == persisted


@claim(f"{PACKAGE}/tasks.py")
def test_results_are_pickles_by_default(tmp_path: Path) -> None:
    """Results are stored as pickles unless a serializer is given."""
    work = task(persist_result=True, result_storage=tmp_path)(one)
    state = run(lambda: work(return_state=True))
    assert state.data.metadata.serializer.type == "pickle"


@claim(f"{PACKAGE}/results/shared+s3+gcs+azure/block.py", "CONTRIBUTING.md")
def test_slug_is_loaded_for_each_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block is loaded again for each task that has its slug, and not for those that have the block itself."""
    block: Any = LocalFileSystem(basepath=str(tmp_path))
    block._block_document_id = UUID(int=1)  # as if it were saved, which takes seconds
    loads: list[Any] = []

    def load(*arguments: Any, **_: Any) -> LocalFileSystem:
        loads.append(arguments)
        return block

    monkeypatch.setattr(Block, "load", load)
    for storage, again in ((block, False), ("local-file-system/results", True)):
        work = task(persist_result=True, result_storage=storage)(one)
        run(lambda work=work: [work() for _ in range(3)])
        assert (len(loads) >= 3) == again


@claim(f"{PROJECT}/pyproject.toml")
def test_returned_failure_is_not_stored(tmp_path: Path) -> None:
    """A task that returns a `Failed` fails, and its result is not stored."""
    policy = CacheKeyFnPolicy(cache_key_fn=lambda *_: "key")
    assert calls_of(Failed, runs=2, cache_policy=policy, result_storage=tmp_path) == 2
    assert not (tmp_path / "key").exists()
    assert calls_of(one, runs=2, cache_policy=policy, result_storage=tmp_path) == 1


# Keys


@claim(f"{PACKAGE}/cache_keys/none.py", f"{TESTS}/test_cache_keys/shared/test_caching.py")
def test_default_key_holds_the_run() -> None:
    """With the policy DEFAULT a retry of a flow run finds its finished tasks, and a new run does not."""
    calls: list[str] = []

    @task(persist_result=True, cache_policy=DEFAULT)
    def work() -> None:
        calls.append("work")

    @flow(retries=1)
    def job() -> None:
        work()
        calls.append("flow")
        if calls.count("flow") == 1:
            raise TimeoutError

    job()
    assert calls == ["work", "flow", "flow"]
    job()
    assert calls == ["work", "flow", "flow", "work", "flow"]


@claim(f"{PACKAGE}/cache_keys/shared/identity.py", f"{TESTS}/test_cache_keys/shared/test_caching.py")
def test_inputs_lack_the_task(tmp_path: Path) -> None:
    """With the policy INPUTS two tasks with equal inputs share a result."""

    @task(cache_policy=INPUTS, result_storage=tmp_path)
    def load(day: int) -> str:
        return f"{day} is loaded"

    @task(cache_policy=INPUTS, result_storage=tmp_path)
    def count(day: int) -> str:
        return f"{day} is counted"

    assert run(lambda: (load(1), count(1))) == ("1 is loaded", "1 is loaded")


@claim(
    f"{PACKAGE}/cache_keys/inputs.py",
    f"{PACKAGE}/cache_keys/inputs_and_source.py",
    f"{PACKAGE}/cache_keys/file_content.py",
    f"{TESTS}/test_cache_keys/shared/test_caching.py",
)
def test_failing_key_function_leaves_the_task_uncached(tmp_path: Path) -> None:
    """A task whose key function raises runs each time, completes, and its result is not stored."""

    def key(*_: Any) -> str:
        raise TypeError("no stable form")

    policy = CacheKeyFnPolicy(cache_key_fn=key)
    assert calls_of(lambda: 1, runs=2, cache_policy=policy, result_storage=tmp_path) == 2
    assert results_in(tmp_path) == 0


@claim(f"{TESTS}/test_cache_keys/shared/test_caching.py")
@pytest.mark.parametrize(
    ("key", "completes"), [("../a", False), ("/a", False), ("x" * 300, True), ("", True), ("a", True)]
)
def test_keys_that_cannot_be_stored(key: str, completes: bool, tmp_path: Path) -> None:
    """A key with `..` or of an absolute path fails the task; one over 255 characters, or of none, is never found."""
    calls = []

    @task(cache_policy=CacheKeyFnPolicy(cache_key_fn=lambda *_: key), result_storage=tmp_path / "results")
    def work() -> None:
        calls.append(1)

    states = [run(lambda: work(return_state=True)) for _ in range(2)]
    assert all(state.is_completed() for state in states) == completes
    assert len(calls) == (1 if key == "a" else 2)


@claim(f"{TESTS}/test_cache_keys/shared/test_canonical.py")
def test_hash_of_a_set_is_not_stable() -> None:
    """Equal sets have different hashes, by the order in which their items were added."""
    policy_key = partial(INPUTS.compute_key, None, flow_parameters={})
    one, two = {0, 8}, {8, 0}
    assert one == two
    assert policy_key(inputs={"value": one}) != policy_key(inputs={"value": two})


def cut(folder: Path) -> None:
    """Cut each stored result short."""
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:5])


@claim(f"{TESTS}/test_cache_keys/shared/test_caching.py")
def test_record_that_was_cut(tmp_path: Path) -> None:
    """A task whose stored record was cut runs again; with keys in a place of their own it fails each time."""
    for policy, runs in ((INPUTS, 2), (INPUTS.configure(key_storage=tmp_path / "keys"), 1)):
        results = tmp_path / f"results-{runs}"
        calls: list[int] = []

        @task(cache_policy=policy, result_storage=results, cache_result_in_memory=False)
        def load(day: int) -> None:
            calls.append(day)  # noqa: B023

        for _ in range(2):
            state = run(lambda load=load: load(1, return_state=True))
            cut(results)
        assert (len(calls), state.is_completed()) == (runs, runs == 2)


# Locks


class Granted(MemoryLockManager):
    """A lock manager that grants each lock and notes who takes it and who frees it."""

    taken: ClassVar[list[str]] = []
    freed: ClassVar[list[str]] = []

    def acquire_lock(self, key: str, holder: str, *_: Any, **__: Any) -> bool:
        self.taken.append(holder)
        return True

    def release_lock(self, key: str, holder: str) -> None:
        self.freed.append(holder)

    def is_lock_holder(self, *_: Any) -> bool:
        return True


@claim(f"{PACKAGE}/cache_keys/shared/locks.py", f"{TESTS}/test_cache_keys/shared/test_locks.py")
def test_lock_is_left_where_a_result_is_found_and_not_read(tmp_path: Path) -> None:
    """A task that finds a result and fails to read it does not free its lock; its retry asks under another name."""
    locks = Granted()
    policy = INPUTS.configure(key_storage=tmp_path / "keys", isolation_level="SERIALIZABLE", lock_manager=locks)
    kept: dict[str, Any] = {"result_storage": tmp_path / "results", "cache_result_in_memory": False}
    load = task(cache_policy=policy, retries=1, **kept)(same)
    run(lambda: load(1))
    assert set(locks.freed) == set(locks.taken)
    locks.taken.clear()
    cut(tmp_path / "results")
    assert run(lambda: load(1, return_state=True)).is_failed()
    assert len(set(locks.taken)) == 2
    assert locks.taken[0] not in locks.freed


@claim(f"{TESTS}/test_cache_keys/shared/test_locks.py")
def test_file_lock_outlives_its_process(tmp_path: Path) -> None:
    """A FileSystemLockManager keeps the lock of a process that is gone."""
    if (child := os.fork()) == 0:
        FileSystemLockManager(tmp_path).acquire_lock("key", "gone")
        os._exit(0)
    os.waitpid(child, 0)
    assert not FileSystemLockManager(tmp_path).acquire_lock("key", "here", acquire_timeout=0.2)
    assert FileSystemLockManager(tmp_path).acquire_lock("another", "here", acquire_timeout=0.2)


@claim(f"{PACKAGE}/cache_keys/shared/identity.py")
def test_module_that_is_loaded_by_its_path(tmp_path: Path) -> None:
    """A flow that is loaded by its file has a module of that name, or of `__prefect_loader_…__` where that is taken."""
    file = tmp_path / f"load_{random.getrandbits(64):x}.py"
    file.write_text("from prefect import flow\n\n@flow\ndef job(): ...\n")
    names = [load_flow_from_entrypoint(f"{file}:job").fn.__module__ for _ in range(2)]
    assert names[0] == file.stem
    assert names[1].startswith("__prefect_loader_")


# Retries


@claim(f"{PACKAGE}/retries/shared/attempts.py")
def test_range_of_the_jitter() -> None:
    """With a jitter of 0.5 a delay is drawn between 0.63 and 1.5 times the one that is listed, which is the mean."""
    drawn = [clamped_poisson_interval(10, 0.5) / 10 for _ in range(5000)]
    assert 0.63 - 0.01 < min(drawn) < 0.7
    assert 1.4 < max(drawn) <= 1.5
    assert statistics.mean(drawn) == pytest.approx(1, abs=0.03)


@claim(f"{PACKAGE}/retries/shared/attempts.py", f"{TESTS}/test_retries/shared/test_attempts.py")
def test_jitter_is_drawn(slept: list[float]) -> None:
    """A task sleeps other delays than those that are listed where it has a jitter."""
    calls_of(fail, retries=3, retry_delay_seconds=[100.0] * 3, retry_jitter_factor=0.5)
    assert len({round(seconds) for seconds in slept}) > 1


@claim(
    f"{PACKAGE}/retries/shared/attempts.py",
    f"{TESTS}/test_retries/escalating.py",
    f"{TESTS}/test_retries/shared/test_attempts.py",
)
def test_tuple_of_delays_is_refused() -> None:
    """A tuple as `retry_delay_seconds` raises a TypeError when the task is made."""
    delays: Any = (1.0, 2.0)
    with pytest.raises(TypeError, match="tuple"):
        task(retries=2, retry_delay_seconds=delays)(fail)


@claim("CONTRIBUTING.md", f"{TESTS}/test_retries/shared/test_attempts.py")
def test_delays_are_those_of_the_decorator(slept: list[float]) -> None:
    """`with_options(retries=…)` keeps the list of delays, also where a function made it, and repeats the last one."""
    work = task(retries=2, retry_delay_seconds=exponential_backoff(2))(fail).with_options(retries=4)
    run(lambda: work(return_state=True))
    assert [round(seconds) for seconds in slept] == [2, 4, 4, 4]


@claim(f"{PACKAGE}/retries/shared/attempts.py", f"{TESTS}/test_retries/shared/test_attempts.py")
def test_flow_takes_one_delay_and_no_jitter() -> None:
    """A flow takes no jitter and no condition; it takes a list of delays, and fails when it runs."""
    assert not {"retry_jitter_factor", "retry_condition_fn"} & set(inspect.signature(flow).parameters)
    delays: Any = [1.0, 2.0]
    job = flow(retries=2, retry_delay_seconds=delays)(lambda: None)
    with pytest.raises(TypeError, match="not 'list'"):
        job()


@claim(f"{PACKAGE}/retries/shared/transient.py", f"{TESTS}/test_retries/shared/test_transient.py")
def test_condition_that_raises_is_a_no() -> None:
    """A condition that raises counts as one that does not hold."""

    def condition(*_: Any) -> bool:
        raise RuntimeError("no response yet")

    assert calls_of(fail, retries=2, retry_condition_fn=condition) == 1
    assert calls_of(fail, retries=2, retry_condition_fn=lambda *_: True) == 3


@claim(f"{PACKAGE}/retries/shared/transient.py", f"{TESTS}/test_retries/shared/test_transient.py")
def test_result_in_a_condition_is_a_coroutine() -> None:
    """`state.result()` in the condition of an asynchronous task is a coroutine; `state.data` is the error in any."""
    found: list[Any] = []

    def condition(_: Any, __: Any, state: Any) -> bool:
        found.append((state.result(raise_on_failure=False), state.data))
        return False

    @task(retries=1, retry_condition_fn=condition)
    async def work() -> None:
        fail()

    @flow
    async def job() -> None:
        await work(return_state=True)

    asyncio.run(job())
    calls_of(fail, retries=1, retry_condition_fn=condition)
    (asked, error), (result, same) = found
    asked.close()
    assert inspect.iscoroutine(asked)
    assert [type(each) for each in (error, result, same)] == [TimeoutError] * 3


@claim(f"{PACKAGE}/retries/shared/transient.py")
def test_condition_is_asked_before_the_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A synchronous task asks its condition in its own thread, before it sleeps there."""
    order: list[tuple[str, int]] = []

    def note(what: str, *_: Any) -> bool:
        order.append((what, threading.get_ident()))
        return True

    clock = SimpleNamespace(**vars(time) | {"sleep": lambda _: note("delay")})
    monkeypatch.setattr("prefect.task_engine.time", clock)

    @task(retries=1, retry_delay_seconds=100, retry_condition_fn=lambda *_: note("condition"))
    def work() -> None:
        note("call")
        fail()

    run(lambda: work.submit().wait())
    assert [what for what, _ in order] == ["call", "condition", "delay", "call"]
    assert len({thread for _, thread in order} - {threading.get_ident()}) == 1


# Transactions


@claim(f"{TESTS}/test_conventions.py", f"{PROJECT}/docs/code.md")
def test_transaction_stores_at_its_end(tmp_path: Path) -> None:
    """A transaction around tasks stores none of their results before it ends."""
    load = task(cache_policy=INPUTS, result_storage=tmp_path)(same)

    def work() -> int:
        with transaction():
            load(1)
            load(2)
            return results_in(tmp_path)

    assert run(work) == 0
    assert results_in(tmp_path) == 2


@claim(f"{TESTS}/test_conventions.py", f"{TESTS}/test_retries/shared/test_attempts.py")
def test_retry_in_a_transaction_loses_the_other_results(tmp_path: Path) -> None:
    """A retry inside a transaction rolls it back: all tasks complete, and no result is stored."""
    failures = [TimeoutError()]

    @task(cache_policy=INPUTS, result_storage=tmp_path, retries=1)
    def load(day: int) -> int:
        if day == 2 and failures:
            raise failures.pop()
        return day

    def work() -> list[Any]:
        with transaction():
            return [load(day, return_state=True) for day in (1, 2, 3)]

    assert all(state.is_completed() for state in run(work))
    assert results_in(tmp_path) == 0


# Runs, deployments, servers


@claim(f"{PACKAGE}/heartbeats.py", f"{PROJECT}/docs/operation.md")
def test_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run sends a heartbeat every 180 s, every 30 at most; no value of the environment turns them off."""
    name = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
    monkeypatch.delenv(name, raising=False)
    assert FlowsSettings().heartbeat_frequency == 180
    for value in ("", "0", "29", "None", "null", "false"):
        monkeypatch.setenv(name, value)
        with suppress(ValidationError):
            assert FlowsSettings().heartbeat_frequency, value
    monkeypatch.setenv(name, "30")
    assert FlowsSettings().heartbeat_frequency == 30
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is None


@claim(f"{PACKAGE}/resume.py", f"{PROJECT}/README.md")
def test_running_run_is_not_retried() -> None:
    """`prefect flow-run retry` refuses a run that is Running, until it is put to Crashed by force."""
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(flow(fail), state=Running())
        with pytest.raises(SystemExit):
            asyncio.run(retry(str(flow_run.id), entrypoint="no.py:job"))
        assert client.read_flow_run(flow_run.id).state_name == "Running"
        client.set_flow_run_state(flow_run.id, Crashed(), force=True)
        client.set_flow_run_state(flow_run.id, Scheduled(), force=True)
        assert client.read_flow_run(flow_run.id).state_name == "Scheduled"


@claim(f"{PACKAGE}/prefect_yaml.py", f"{PROJECT}/README.md")
def test_unknown_keys_are_dropped() -> None:
    """Keys of `prefect.yaml` that nobody knows are taken, and dropped."""
    model = PrefectYamlModel.model_validate({"shedules": [], "deployments": [{"name": "a", "shedule": {}}]})
    assert "shedule" not in model.model_dump_json()


@claim(f"{PACKAGE}/server.py", "CONTRIBUTING.md")
def test_address_of_a_page() -> None:
    """The address of a run's page is made of the API's, unless `PREFECT_UI_URL` is empty."""
    assert url_for("flow-run", obj_id=UUID(int=0))
    with temporary_settings({PREFECT_UI_URL: ""}):
        assert url_for("flow-run", obj_id=UUID(int=0)) is None


@claim("CONTRIBUTING.md")
def test_flow_loads_the_default_store() -> None:
    """A flow without a store of its own loads the one that the settings name, though it stores nothing."""
    elsewhere = {PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK: "local-file-system/of-others"}
    with temporary_settings(elsewhere), pytest.raises(ValueError, match="Unable to find block document"):
        flow(persist_result=False)(fail)()


@claim("CONTRIBUTING.md")
def test_functions_return_coroutines_where_a_loop_runs(tmp_path: Path) -> None:
    """What a function does elsewhere, nobody waits for where an event loop runs."""

    async def cell() -> Any:
        return LocalFileSystem(basepath=str(tmp_path)).write_path("file", b"")

    asyncio.run(cell()).close()
    assert not (tmp_path / "file").exists()


LOGGING = """
from prefect.logging.configuration import PROCESS_LOGGING_CONFIG as config
before = bool(config)
from prefect import flow
print(before, bool(config))
"""


@claim(f"{PACKAGE}/cli.py")
def test_logging_is_set_up_by_an_import(environment: dict[str, str]) -> None:
    """Prefect reads the settings of its log when `flow` is first imported, not when a flow runs."""
    assert subprocess.check_output([sys.executable, "-c", LOGGING], env=environment, text=True) == "False True\n"


TEMPORARY = """
from prefect import get_client

with get_client(sync_client=True) as client:
    print(client.api_url, flush=True)
    input()
"""


@claim(f"{PACKAGE}/server.py", "CONTRIBUTING.md")
@only_all
def test_temporary_server_outlives_its_run(environment: dict[str, str], tmp_path: Path) -> None:
    """The temporary server that Prefect itself starts stays when the process that uses it is killed."""
    ours = {
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(int(START_TIMEOUT)),
    }
    with subprocess.Popen(
        [sys.executable, "-c", TEMPORARY],
        env=environment | ours,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout
        try:
            url = process.stdout.readline().decode().strip().rstrip("/")
            process.kill()
            process.wait()
            assert answers(url)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


# The claims


def stated() -> Iterator[tuple[str, int, str]]:
    """Yield each version of Prefect that a text of the template states, with the file and the line."""
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
    for name in filter(None, names):
        content = (ROOT / name).read_bytes()
        if b"\0" not in content:
            text = content.decode("utf-8")
            for found in STATED.finditer(text):
                yield name, text.count("\n", 0, found.start()) + 1, found[1]


def test_claims_are_tried_with_the_pinned_version() -> None:
    assert installed("prefect") == PINNED


def test_stated_versions_are_the_pinned_one() -> None:
    """Or its beginning: `Prefect 3`, and with the minor version where a behaviour is told."""
    others = [
        f"{name}:{line}: Prefect {version}, and {PINNED} is pinned"
        for name, line, version in stated()
        if name not in OLDER and not f"{PINNED}.".startswith(f"{version}.")
    ]
    assert not others, "\n".join(others)


@claim(f"{PACKAGE}/limits.py", f"{TESTS}/test_limits.py")
def test_client_asks_a_busy_server_again_after_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client waits for about 2 s after a 503, whatever retries are allowed, but where `Retry-After` says how long."""
    plain = httpx.HTTPTransport.handle_request
    left: list[httpx.Response] = []
    seconds: list[float] = []

    def busy(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        return left.pop() if left and request.url.path.endswith("/increment") else plain(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", busy)
    monkeypatch.setattr("prefect.client.base.time", SimpleNamespace(**vars(time) | {"sleep": seconds.append}))
    for headers in ({}, {"Retry-After": "0.05"}):
        left.append(httpx.Response(503, headers=headers))
        with get_client(sync_client=True) as client:
            client.increment_concurrency_slots(["of nothing"], 1, "rate_limit")
    left.append(httpx.Response(503))
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True) as client,
        pytest.raises(httpx.HTTPStatusError),
    ):
        client.increment_concurrency_slots(["of nothing"], 1, "rate_limit")
    assert [round(each) for each in seconds] == [2, 0, 2]


def test_each_statement_has_a_claim() -> None:
    """A file names the minor version no more often than claims name the file."""
    statements = Counter(name for name, _, version in stated() if "." in version and name not in OLDER | TOLD)
    missing = {name: number - claims[name] for name, number in statements.items() if number > claims[name]}
    assert not missing, f"statements of Prefect that no claim tries: {missing}"


def test_claims_are_of_files_that_are_there() -> None:
    assert [name for name in claims if not (ROOT / name).is_file()] == []
