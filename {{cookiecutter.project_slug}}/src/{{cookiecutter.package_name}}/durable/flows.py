"""Durable flows: flows that have all that the project's promises need, wherever they are called.

Called from a script, a REPL, a notebook or a test, a flow starts a temporary Prefect server if none is set; a worker
runs it like any other. While it runs it is marked as alive, so that `make resume` finds it if its process is killed.
"""

import asyncio
import functools
import inspect
import io
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Flow, Task
from prefect.runtime import flow_run

from . import discovery, upserts
from .context import FLOW, LOOKING, ChunksLeftError
from .errors import InputError
from .labels import REASON, label_run
from .results import register
from .runners import look_for_cluster, task_runner
from .runs import alive
from .server import server
from .tasks import FLOW_POLICIES

P = ParamSpec("P")
R = TypeVar("R")

NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
"""Of flows and deployments."""


class DurableFlow(Flow[P, R]):
    """A Prefect flow that brings its own server where none is set."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the flow: see `prefect.Flow`. Where an event loop runs, as in a notebook, it gets a thread of its own."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._run(*args, **kwargs)
        # What Prefect does in this thread would wait for the loop, which waits here.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(copy_context().run, self._run, *args, **kwargs).result()

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        with server():
            register()
            return super().__call__(*args, **kwargs)

    def with_options(self, **options: Any) -> "DurableFlow[P, R]":
        """Make a flow like this one with other options: see `prefect.Flow.with_options`."""
        flow = super().with_options(**options)
        # Prefect makes it a plain flow.
        flow.__class__ = DurableFlow
        return cast("DurableFlow[P, R]", flow)


def durable_flow(*, name: str, **options: Any) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a Prefect flow under the project's policies.

    Before its body runs, the tables are created, the store of results and the cluster are looked for, and the run is
    marked as alive. The body may run again, after a crash or a failure: leave effects to tasks and their steps.

    Args:
        name: of the flow, up to 80 lower-case letters and digits with dashes between. What is done, rejected records
            and artifacts are known by it.
        **options: of `prefect.flow`; they override the policies.

    Raises:
        TypeError: the function is asynchronous or a generator.
        ValueError: `name` is not made so.

    Example:
        @durable_flow(name="load-orders")
        def load_orders(folder: Path = settings.orders_folder) -> RunReport:
            return run_chunks(load_file, files(folder), job="orders")
    """

    if not re.fullmatch(NAME, name) or len(name) > 80:
        raise ValueError(f"{name!r} cannot be the name of a flow: use lower-case letters and digits, dashes between")

    def decorate(fn: Callable[P, R]) -> Flow[P, R]:
        if inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError(f"flow {name}: a durable flow is a plain function, for `run_chunks` waits for its tasks")

        @functools.wraps(fn)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with _running(name):
                return fn(*args, **kwargs)

        return DurableFlow(run, name=name, **{"task_runner": task_runner(), **FLOW_POLICIES, **options})

    return decorate


@contextmanager
def _running(name: str) -> Iterator[None]:
    token = FLOW.set(name)
    try:
        discovery.flows()
        if LOOKING.get():
            yield
            return
        with _telling():
            look_for_cluster()
            upserts.prepare()
            with alive(flow_run.id, name):
                yield
    finally:
        FLOW.reset(token)


@contextmanager
def _telling() -> Iterator[None]:
    """Have the server know the class of an error; see `alerts.py`."""
    # Of an attempt before.
    label_run({REASON: ""})
    try:
        yield
    except Exception as error:
        label_run({REASON: type(error).__name__})
        raise


def all_done(flow: Flow[Any, Any], parameters: dict[str, Any]) -> Any:
    """Run the body of a flow without Prefect, as far as it finds that no chunk is left.

    That takes no server, so a run that has nothing to do ends at once.

    Args:
        flow: of `durable_flow`.
        parameters: of the flow, validated.

    Returns:
        What the flow returns, or None where a chunk is left, or the body calls a task, uses Prefect otherwise or fails.

    Raises:
        InputError: the input cannot be used.
        Exception: the database fails, with one of `upserts.ERRORS`.
    """

    def left(*_: Any, **__: Any) -> None:
        raise ChunksLeftError

    calls = [(kind, "__call__") for kind in (Task, Flow, DurableFlow)]
    calls += [(Task, "submit"), (Task, "map"), (Task, "delay")]
    plain = [(kind, method, getattr(kind, method)) for kind, method in calls]
    refusals: tuple[type[Exception], ...] = (InputError, *upserts.ERRORS)
    token = LOOKING.set(True)
    try:
        for kind, method in calls:
            setattr(kind, method, left)
        # If it comes to a real run, the body says all that again.
        with redirect_stdout(io.StringIO()):
            return flow.fn(**parameters)
    except refusals:
        raise
    except Exception:
        # A real run fails in the same way, and Prefect keeps why.
        return None
    finally:
        LOOKING.reset(token)
        for kind, method, function in plain:
            setattr(kind, method, function)
