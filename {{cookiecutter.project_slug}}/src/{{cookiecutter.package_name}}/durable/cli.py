"""The command line. A user's mistake is one line on standard error, without a traceback.

Exit codes: 0, all is done; 1, the run failed, and a new one does the rest; 2, the input or a setting is wrong, and
nothing was written; 130, stopped by Ctrl-C. SIGTERM ends a run by that signal (143 in a shell); you can resume it.
"""

import gc
import inspect
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, cast, get_type_hints

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from .errors import InputError, RunFailedError, SettingsError, reason

# Slow modules are imported where they are used.
if TYPE_CHECKING:
    from prefect import Flow

PACKAGE = __name__.partition(".")[0]

PLAIN = ("bool", "enum", "float", "greater", "int", "less", "literal", "time")
"""How the types of pydantic's errors begin that numbers, durations and words from a list have."""

app = App(
    name=PACKAGE, version_flags=(), help="Run flows that resume after a crash.", suppress_keyboard_interrupt=False
)
RUN = App(name="run", help="Run a flow. You can repeat it at any time.")
"""A stub for the help: `_run_app` adds the flows."""
app.command(RUN)


@app.command
def backfill(flow: str, *, since: str, until: str, window: str = "1d", zone: str = "UTC", verbose: bool = False) -> int:
    """Load a past period again, window by window. The high-water mark does not move.

    Args:
        flow: Its name.
        since: A date, or a date and a time: 2026-01-31 or 2026-01-31T10:00.
        until: The end, in the same form; exclusive.
        window: How much to load at a time: 1w, 1d, 6h or 30m.
        zone: The time zone of both, such as Europe/Berlin.
        verbose: Show Prefect's own log.
    """
    from .backfills import Backfill

    known = _flows()
    if flow not in known:
        raise InputError(f"there is no flow {flow!r}; there are: {', '.join(known)}")
    if not _takes_backfill(known[flow]):
        raise InputError(f"{flow} takes no backfill; give it the parameter `backfill: Backfill | None = None`")
    try:
        wanted = Backfill.model_validate({"since": since, "until": until, "window": window, "zone": zone})
    except ValidationError as error:
        faults = [(*map(str, fault["loc"]), fault["msg"].removeprefix("Value error, ")) for fault in error.errors()]
        raise InputError("; ".join(": ".join(fault) for fault in faults)) from None
    return _run(known[flow], {"backfill": wanted})


def _takes_backfill(flow: "Flow[Any, Any]") -> bool:
    return "backfill" in inspect.signature(flow.fn).parameters


@app.command
def resume(*, verbose: bool = False) -> int:
    """Resume the flow runs whose process was killed.

    Args:
        verbose: Show Prefect's own log.
    """
    from .server import server, start_early

    # The server starts while the rest is imported.
    start_early()
    from .results import register
    from .resume import resume_dead_runs
    from .runners import look_for_cluster

    _input(look_for_cluster)
    gc.enable()
    with server():
        register()
        return 0 if resume_dead_runs(_show) else 1


@app.command
def status() -> int:
    """Show the progress of jobs and sources, undelivered effects, and killed runs."""
    from . import upserts
    from .runs import dead
    from .settings import check_names

    unclear: tuple[type[Exception], ...] = (SettingsError, *upserts.ERRORS)
    try:
        check_names()
        lines = _progress()
    except unclear:
        # Flows are slow to import. With their settings and tables it is known what is wrong, or a database is created.
        _flows()
        upserts.prepare()
        lines = _progress()
    if killed := dead():
        flows = _flows()
        lines += [f"flow run {run.id} of {run.flow or 'a flow'} was killed; {run.advice(flows)}" for run in killed]
    print("\n".join(lines if killed else [*lines, "no run was killed"]))
    return 0


def _flows() -> "dict[str, Flow[Any, Any]]":
    from .discovery import flows

    return flows()


def _progress() -> list[str]:
    """Return lines about jobs, sources and undelivered effects."""
    from . import checkpoints, high_water, outbox, upserts
    from .steps import suffix

    # Jobs with another suffix belong to an older database.
    ours = suffix(upserts.epoch())
    with _store():
        jobs = [(job.removesuffix(ours), done, total) for job, done, total in checkpoints.status()]
        lines = [f"{job}: {done} of {total} chunks done" for job, done, total in jobs]
        lines += [f"{source.removesuffix(ours)}: loaded up to {value}" for source, value in high_water.status()]
    return [*lines, *outbox.status()]


@app.command
def reset(job: str) -> int:
    """Reset a job: delete its checkpoints and its high-water mark, so that the next run does it again. Rows stay.

    If its flow is gone, its killed runs are forgotten too.

    Args:
        job: Its flow and name, as `status` shows them: `load-orders/orders`.
    """
    from . import high_water, upserts
    from .runs import dead, forget
    from .steps import checkpoint

    flow = job.partition("/")[0]
    gone = flow not in _flows()
    upserts.prepare()
    with _store():
        try:
            remembered = checkpoint(job, upserts.epoch())
            # The mark first: if only the chunks were reset, a run would still ask for changes since the mark only.
            known = high_water.forget(remembered.job)
            known |= remembered.reset()
        except ValueError as error:
            return _complain(error)
    for run in dead():
        if gone and run.flow == flow:
            forget(run.id)
            known = True
    if not known:
        print(f"nothing is known of a job {job!r}; `make status` shows those that there are", file=sys.stderr)
        return 2
    print(f"{job} is forgotten, for its flow is gone" if gone else f"{job} is reset; the next run does it again")
    return 0


@app.command
def resend(job: str) -> int:
    """Send the refused effects of a job again, and those that are left.

    Args:
        job: Its flow and name, as `status` shows them: `load-orders/orders`.
    """
    from . import outbox, upserts

    _flows()
    upserts.prepare()
    try:
        print(outbox.resend(job))
    except RunFailedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


@app.command
def switch(*answers: str, dry: bool = False, data: bool = False) -> int:
    """Change answers that the project was made with, by cruft; `make switch` calls this. Nothing is committed.

    Args:
        answers: Prompts with their new answers, such as `upsert=postgres`.
        dry: Show what would change, and change nothing.
        data: Write the rows of the database to a file first, for `carry`.
    """
    from .switch import switch

    return switch(answers, dry, data)


@app.command
def carry() -> int:
    """Read the rows of the old database, which `switch` has written to a file, into the empty tables of this one."""
    from .transfer import carry

    carry(lambda line: print(line, flush=True))
    return 0


@app.command
def setup() -> int:
    """Prepare what flows need: the result storage and the tables. Idempotent."""
    from prefect.settings import PREFECT_API_URL

    from . import results, server, upserts
    from .limits import RateLimit
    from .probe import StoreError

    _flows()
    # This saves the first run the time.
    server.prepare()
    limits = RateLimit.every.values() if PREFECT_API_URL.value() else ()
    try:
        with _server(results.NEEDS_SERVER or bool(limits)):
            print(results.register(replace=True))
            for limit in limits:
                print(limit.prepare())
    except StoreError as error:
        return _complain(error)
    if ready := upserts.prepare(upgrade=True):
        print(ready)
    return 0


@app.command
def prepare_server(*, within: int | None = None) -> int:
    """Prepare the Prefect server for `prefect deploy`. Idempotent.

    Args:
        within: Seconds without a heartbeat after which a run is Crashed; default: three times the heartbeat interval.
    """
    from . import deployments, results
    from .alerts import prepare_alerts
    from .heartbeats import watch_heartbeats
    from .limits import RateLimit
    from .probe import StoreError

    if within is not None and within < 10:
        raise InputError("--within must be at least 10")
    try:
        with _server(True):
            if results.NEEDS_SERVER:
                print(results.register(replace=True))
            deployments.prepare_server()
            # This imports all flows.
            print(f"a run without a heartbeat for {watch_heartbeats(within)} s will be Crashed")
            for limit in RateLimit.every.values():
                print(limit.prepare())
            print(prepare_alerts())
    except StoreError as error:
        return _complain(error)
    return 0


@app.command
def doctor(*, deep: bool = False) -> int:
    """Check the setup: print a line for each check, with what is wrong and what to do.

    Args:
        deep: Run a crash drill too: deploy a flow, kill its process, and wait until a worker has resumed its run.
    """
    from .doctor import look

    wrong = 0
    for finding in look(deep):
        print(f"{finding.verdict:5} {finding.what}: {finding.said}", flush=True)
        wrong += finding.verdict == "wrong"
    return 1 if wrong else 0


@app.command
def check_server() -> int:
    """Check that a Prefect server is configured, responds, and accepts this project's login."""
    from prefect.settings import PREFECT_API_URL

    from .server import check

    check(PREFECT_API_URL.value() or "")
    return 0


@app.command
def check_prefect_yaml() -> int:
    """List keys of `prefect.yaml` that Prefect does not know, and so ignores."""
    from .prefect_yaml import faults

    found = faults()
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


@app.command
def flow(name: str, *, source: Annotated[Literal["files", "api"], Parameter(name="--from")] = "files") -> int:
    """Write a new flow: its source, table, test, sample and entry in `prefect.yaml`.

    Args:
        name: What it loads, such as `orders`: lower-case letters and digits, dashes between.
        source: A folder of files, or an HTTP API with pages.
    """
    from .scaffold import write_flow

    for line in write_flow(name, source):
        print(line)
    return 0


def _run_app(first: str) -> App:
    """Return `run` with a command for each flow of the project; a single flow is also the default command.

    Args:
        first: what follows `run`: the name of a flow, or an option.
    """
    found = App(name=f"{PACKAGE} run", version_flags=(), help=RUN.help, suppress_keyboard_interrupt=False)
    known = _flows()
    for name, each in known.items():
        found.command(_command(each), name=name)
    if not known:
        raise InputError("there is no flow yet; write the first one with: make flow NAME=orders")

    # Otherwise the only flow would take a misspelt name as its first parameter.
    if first and not first.startswith("-") and first not in known:
        raise InputError(f"there is no flow {first!r}; there are: {', '.join(known)}. Give parameters after its name")

    def which() -> int:
        raise InputError(f"say which flow to run, as in `make run FLOW={next(iter(known))}`: {', '.join(known)}")

    found.default(_command(*known.values()) if len(known) == 1 else which)
    return found


def _command(flow: "Flow[Any, Any]") -> Callable[..., int]:
    """Return a function with the parameters and the docstring of a flow, plus `verbose`."""

    def command(*args: Any, verbose: bool = False, **kwargs: Any) -> int:
        return _run(flow, inspect.signature(flow.fn).bind(*args, **kwargs).arguments)

    # Without pydantic's constraints: Prefect validates the values.
    hints = get_type_hints(inspect.unwrap(flow.fn))
    shown = inspect.signature(flow.fn)
    parameters = [each.replace(annotation=hints.get(each.name, str)) for each in shown.parameters.values()]
    if "verbose" not in shown.parameters:
        shows = Annotated[bool, Parameter(help="Show Prefect's own log.")]
        parameters.append(inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=shows))
    command.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": int}
    command.__doc__ = flow.fn.__doc__
    command.__name__ = flow.fn.__name__
    return command


def _run(flow: "Flow[Any, Any]", given: Mapping[str, Any]) -> int:
    from prefect.exceptions import ParameterTypeError
    from prefect.settings import PREFECT_API_URL

    from .discovery import told
    from .flows import all_done
    from .probe import StoreError
    from .runners import look_for_cluster
    from .server import server, where

    # Absolute, so that the run can be resumed from another folder.
    absolute = {
        name: value.expanduser().absolute() if isinstance(value, Path) else value for name, value in given.items()
    }
    for name, value in absolute.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise InputError(f"{name}: {str(value)!a} is not UTF-8; rename the file") from None
    try:
        parameters = flow.validate_parameters(absolute)
    except ParameterTypeError as error:
        raise InputError(" ".join(str(error).split())) from None
    _input(look_for_cluster)
    # Before any server starts and any flow run exists: a wrong input leaves no trace, and a run with nothing to do ends
    # at once.
    report = all_done(flow, parameters)
    if report is not None and not PREFECT_API_URL.value():
        _show(report)
        print("nothing is left to do; no run was started")
        return 0
    gc.enable()
    with server():
        state: Any = flow(**parameters, return_state=True)
        result = state.result(raise_on_failure=False)
        page = where(state.state_details.flow_run_id)
    if isinstance(result, InputError):
        return _complain(result)
    if isinstance(result, Exception):
        known = isinstance(result, RunFailedError | StoreError)
        print(result if known else told(result), file=sys.stderr)
        print(page, file=sys.stderr)
        return 1
    _show(result)
    print(page)
    return 0


def _input(look: Callable[[], None]) -> None:
    """Call a check of a setting: report its errors as mistakes of the user."""
    try:
        look()
    except (ConnectionError, ValueError) as error:
        raise InputError(str(error)) from None


@contextmanager
def _server(needed: bool) -> Iterator[None]:
    from .server import server

    if not needed:
        yield
        return
    with server():
        yield


@contextmanager
def _store() -> Iterator[None]:
    """Make the result storage available, if it holds the checkpoints."""
    from . import checkpoints

    if not checkpoints.IN_STORE:
        yield
        return
    from . import results

    with _server(results.NEEDS_SERVER):
        if results.NEEDS_SERVER:
            results.register()
        yield


def _be_quiet() -> None:
    # Prefect reads this variable on import.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    # Otherwise loggers without handlers, such as Google's, would write to the terminal.
    logging.lastResort = logging.NullHandler()


def _complain(error: object) -> int:
    print(error, file=sys.stderr)
    return 2


def _show(report: Any) -> None:
    """Print the result of a run, if it is the report of `run_chunks`."""
    from .artifacts import rejects_told
    from .chunks import RESUMES, redo

    if not isinstance(report, Mapping) or "rejects_file" not in report:
        return
    print(f"{report['job']}: {report['chunks']} chunks, {report['skipped']} skipped, {report['done']} done")
    if report["totals"]:
        print(", ".join(f"{count} {name}" for name, count in report["totals"].items()))
    if report["effects"]:
        print("effects: " + ", ".join(f"{count} {name}" for name, count in report["effects"].items()))
    if report["skipped"] and not report["done"]:
        print(f"all chunks are done already; to load them again: {redo(report['job'])}")
    if rejects := rejects_told(report):
        again = ": only what has changed is loaded" if RESUMES else ""
        print(rejects)
        print(f"correct the source and run again{again}")
        name = report["job"].partition("/")[0]
        flow = _flows().get(name) if RESUMES else None
        if flow and _takes_backfill(flow):
            # The high-water mark has passed these records.
            print(f"if their source does not date the correction: make backfill FLOW={name} SINCE=… UNTIL=…")


def _read_env_file() -> None:
    """Load Prefect's settings from the project's `.env`: Prefect only reads that of the current folder."""
    from .settings import env_variables

    env_variables(Path(".env").absolute())
    for name, value in env_variables().items():
        if name.startswith("PREFECT_") and value:
            os.environ.setdefault(name, value)


class _Stderr:
    """Standard error, without the dump that Prefect prints of an invalid setting when it is imported."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.dropped = False

    def write(self, text: str) -> int:
        # The end of the dump's line comes by itself.
        end = self.dropped and text == "\n"
        self.dropped = text.startswith("Failed to initialize plugins: ")
        return 0 if self.dropped or end else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def _prefect_settings() -> Iterator[None]:
    """Say in one line which of Prefect's settings is invalid: Prefect raises an error of pydantic on first use."""
    with redirect_stderr(cast("TextIO", _Stderr(sys.stderr))):
        try:
            yield
        except ValueError as error:
            if not (said := _refused(error)):
                raise
            raise SettingsError(f"Prefect refuses {said}") from None


def _refused(error: ValueError) -> str:
    """Return the variable, its value unless that may be secret, and what it must be; empty if Prefect raises others."""
    if isinstance(error, ValidationError) and error.title.endswith("Settings"):
        fault = error.errors()[0]
        field, *within = map(str, fault["loc"])
        value, message = str(fault["input"]), fault["msg"]
        shown = f"={value}" if fault["type"].startswith(PLAIN) and not within else ""
    elif type(error).__module__ == "pydantic_settings.exceptions":
        field, within, shown, message = str(error).split('"')[1], [""], "", "it must be JSON"
    else:
        return ""
    names = [name for name in os.environ if name.startswith("PREFECT_") and name.endswith(field.upper())]
    place = next((name for name in names if within or os.environ[name] == value), f"the setting {field}")
    return f"{place}{shown}: {message}"


def main() -> None:
    """Run the command line, and exit."""
    # Imports create many objects and little garbage: without the collector a command starts a tenth faster.
    gc.disable()
    try:
        _read_env_file()
        # The option itself is parsed too late: this must be known before Prefect is imported.
        if "--verbose" not in sys.argv:
            _be_quiet()
        with _prefect_settings():
            if sys.argv[1:2] == ["run"]:
                _run_app(*sys.argv[2:3] or [""])(sys.argv[2:], exit_on_error=False, print_error=False)
            else:
                app(sys.argv[1:], exit_on_error=False, print_error=False)
    except BrokenPipeError:
        # What reads the output, such as `head`, has ended. Python would still write the rest, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        print(f"stopped; {_what_stays()}", file=sys.stderr)
        sys.exit(130)
    except SettingsError as error:
        if sys.argv[1:2] != ["doctor"]:
            sys.exit(_complain(error))
        print(f"wrong settings: {error}; correct it in `.env` or the environment")
        print("-     everything else: not checked: see settings")
        sys.exit(1)
    except (CycloptsError, InputError) as error:
        sys.exit(_complain(error))
    except ModuleNotFoundError as error:
        if str(error.name).startswith(f"{__package__.partition('.')[0]}."):
            raise
        sys.exit(_complain(reason(error)))
    except Exception as error:
        sys.exit(_fail(error))
    finally:
        gc.enable()


def _what_stays() -> str:
    from .chunks import RESUMES

    if RESUMES:
        return "finished chunks are kept; run the same command again for the rest"
    return "run the same command again; it starts from the beginning"


def _fail(error: Exception) -> int:
    """Print an expected error in one line, and return the exit code; other errors are faults of the code."""
    import httpx

    from . import upserts
    from .probe import StoreError
    from .server import ServerError

    if isinstance(error, ServerError):
        return _complain(error)
    if isinstance(error, upserts.ERRORS):
        if isinstance(error, upserts.MISTAKES):
            return _complain(error)
        print(f"the database fails: {reason(error)}; make doctor says which, and what to do", file=sys.stderr)
        return 1
    if isinstance(error, httpx.HTTPStatusError):
        answer = f"{error.response.status_code} to {error.request.method} {error.request.url.path}"
        print(f"the Prefect server answers {answer}; make doctor looks at it", file=sys.stderr)
        return 1
    if isinstance(error, ConnectionAbortedError):
        # Ray's error quotes a traceback of its server; the last line is the reason.
        print(f"the cluster refuses this run: {str(error).splitlines()[-1]}", file=sys.stderr)
        return 1
    if isinstance(error, OSError | StoreError):
        print(f"{str(error).splitlines()[0]}; make doctor says what is wrong", file=sys.stderr)
        return 1
    raise error
