"""Durable flows: Prefect flows with the project's policies, wherever you call them.

In a script, a REPL, a notebook or a test, a flow starts a temporary Prefect server if none is set. A worker runs it
like any other flow. A running flow is marked as alive, so that `make resume` finds it if its process is killed.
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
from .errors import InputError, safe_reason
from .labels import REASON, label_run
from .results import register
from .runners import look_for_cluster, task_runner
from .runs import alive
from .server import server
from .tasks import FLOW_POLICIES

P = ParamSpec("P")
R = TypeVar("R")

NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
"""The names that flows and deployments may have."""


class DurableFlow(Flow[P, R]):
    """A Prefect flow that starts a temporary server if none is set."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the flow, in its own thread if an event loop is running, as in a notebook. See `prefect.Flow`."""
        if not _loop_runs():
            return self._run(*args, **kwargs)
        # In this thread Prefect would deadlock: its work waits for the loop, and the loop waits for this call.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(copy_context().run, self._run, *args, **kwargs).result()

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        with server():
            register()
            return super().__call__(*args, **kwargs)

    def with_options(self, **options: Any) -> "DurableFlow[P, R]":
        """Copy the flow with other options: see `prefect.Flow.with_options`."""
        flow = super().with_options(**options)
        # Prefect returns a plain flow.
        flow.__class__ = DurableFlow
        return cast("DurableFlow[P, R]", flow)


def _loop_runs() -> bool:
    """Tell whether an event loop is running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def durable_flow(*, name: str, **options: Any) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a Prefect flow with the project's policies.

    Before the body runs, the flow creates the tables, checks the result storage and the cluster, and marks the run as
    alive. The body may run again after a crash or a failure, so put effects into tasks and their steps.

    Args:
        name: the flow's name: up to 80 lower-case letters and digits, with single dashes between. Checkpoints, rejected
            records and artifacts are kept under it.
        **options: options of `prefect.flow`; they override the policies.

    Raises:
        TypeError: the function is asynchronous or a generator.
        ValueError: `name` is not a valid flow name.

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
    """Label the run with the reason of its failure; see `alerts.py`."""
    # An earlier attempt may have left a reason.
    label_run({REASON: ""})
    try:
        yield
    except Exception as error:
        label_run({REASON: safe_reason(error)})
        raise


def all_done(flow: Flow[Any, Any], parameters: dict[str, Any]) -> Any:
    """Check without Prefect whether a flow has chunks left, by running its body until the first one.

    This needs no server, so a run with nothing to do ends at once.

    Args:
        flow: a flow of `durable_flow`.
        parameters: the flow's validated parameters.

    Returns:
        What the flow returns; None if a chunk is left, or if the body calls a task, uses Prefect otherwise or fails.

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
        # If a real run follows, the body prints the same again.
        with redirect_stdout(io.StringIO()):
            return flow.fn(**parameters)
    except refusals:
        raise
    except Exception:
        # A real run fails in the same way, and Prefect records the reason.
        return None
    finally:
        LOOKING.reset(token)
        for kind, method, function in plain:
            setattr(kind, method, function)
