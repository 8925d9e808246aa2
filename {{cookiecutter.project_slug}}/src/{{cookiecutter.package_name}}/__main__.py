"""The command line: `python -m {{ cookiecutter.package_name }} --help`.

Exit codes: 0, all is done; 1, the run failed, and a new one does the rest; 2, the input or a setting is wrong, and
nothing was written; 130, it was stopped by Ctrl-C.
"""

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError
from dotenv import dotenv_values
from pydantic import ValidationError
{%- if cookiecutter.upsert != "none" %}
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
{%- endif %}

if TYPE_CHECKING:
    from .flows import RunReport

app = App(
    name=__package__,
    version_flags=(),
    help="Load flights so that a crash loses nothing and doubles nothing.",
    suppress_keyboard_interrupt=False,
)


@app.command
def run(
    source: Path | None = None,
    *,
    job: str | None = None,
    chunk_days: int | None = None,
    verbose: bool = False,
) -> int:
    """Load a file of flights. Run it again after anything: what is done stays done.

    Parameters
    ----------
    source
        CSV in UTF-8, plain or gzip; the project's sample if not given.
    job
        The name of this work; the file's name without its endings if not given.
    chunk_days
        Days of flights in a chunk.
    verbose
        Show Prefect's own log.
    """
    _quiet(verbose)
    from .flights import SourceError, opened
    from .flows import ChunksFailedError, {% if cookiecutter.task_runner != "threads" %}RejectsElsewhereError, {% endif %}ResultsNotStoredError, job_name, load_flights
    from .probe import StoreError
    from .results import register
{%- if cookiecutter.task_runner != "threads" %}
    from .runners import look_for_cluster
{%- endif %}
    from .server import server, where
    from .settings import settings
{%- if cookiecutter.upsert != "none" %}
    from .tables import create
    from .upsert import database
{%- endif %}

    path = (source or settings.source).expanduser().absolute()
    days = settings.chunk_days if chunk_days is None else chunk_days
    try:
        job = job_name(path, job)
        if days < 1:
            raise ValueError("--chunk-days must be at least 1")
        # Before a server is started and a flow run is made: a bad file leaves no trace.
        with opened(path, days):
            pass
{%- if cookiecutter.task_runner != "threads" %}
        look_for_cluster()
{%- endif %}
    except ({% if cookiecutter.task_runner != "threads" %}ConnectionError, {% endif %}SourceError, ValueError) as error:
        return _complain(error)
{%- if cookiecutter.upsert != "none" %}
    create(database())
{%- endif %}
    try:
        with server():
            register()
            state = load_flights(source=path, job=job, chunk_days=days, return_state=True)
            report: RunReport = state.result()
    except SourceError as error:
        return _complain(error)
    except StoreError as error:
        print(error, file=sys.stderr)
        return 1
    except (ChunksFailedError, {% if cookiecutter.task_runner != "threads" %}RejectsElsewhereError, {% endif %}ResultsNotStoredError) as error:
        print(error, file=sys.stderr)
        print(where(state.state_details.flow_run_id), file=sys.stderr)
        return 1
    _show(report)
    print(where(state.state_details.flow_run_id))
    return 0


@app.command
def resume(*, verbose: bool = False) -> int:
    """Take up the flow runs that a killed process has left Running.

    Parameters
    ----------
    verbose
        Show Prefect's own log.
    """
    _quiet(verbose)
    from .probe import StoreError
    from .results import register
    from .resume import resume_dead_runs
{%- if cookiecutter.task_runner != "threads" %}
    from .runners import look_for_cluster
{%- endif %}
    from .server import server
{%- if cookiecutter.task_runner != "threads" %}

    try:
        look_for_cluster()
    except (ConnectionError, ValueError) as error:
        return _complain(error)
{%- else %}
{% endif %}
    try:
        with server():
            register()
            return 0 if resume_dead_runs(_show) else 1
    except StoreError as error:
        print(error, file=sys.stderr)
        return 1


@app.command
def status() -> int:
    """Show {% if cookiecutter.checkpoint != "none" %}how far each job is, and {% endif %}which runs were killed."""
{%- if cookiecutter.checkpoint != "none" %}
    from .checkpoints import status as jobs
{%- if cookiecutter.checkpoint != "database" and cookiecutter.upsert != "none" %}
    from .flows import checkpoint
{%- endif %}
{%- if cookiecutter.checkpoint == "storage" and cookiecutter.result_storage != "local" %}
    from .results import register
{%- endif %}
{%- endif %}
    from .runs import dead
{%- if cookiecutter.checkpoint == "storage" and cookiecutter.result_storage != "local" %}
    from .server import server
{%- endif %}
{%- if cookiecutter.checkpoint == "database" %}
    from .tables import create
    from .upsert import database
{%- elif cookiecutter.checkpoint != "none" and cookiecutter.upsert != "none" %}
    from .tables import create, epoch
    from .upsert import database
{%- endif %}
{% if cookiecutter.checkpoint == "storage" and cookiecutter.result_storage != "local" %}
    _quiet(verbose=False)
{%- endif %}
{%- if cookiecutter.checkpoint != "none" and cookiecutter.upsert != "none" %}
    create(database())
{%- endif %}
{%- if cookiecutter.checkpoint != "database" and cookiecutter.checkpoint != "none" and cookiecutter.upsert != "none" %}
    # What else has an epoch in its name is of a database that is gone.
    current = checkpoint("", epoch(database())).job
{%- endif %}
{%- if cookiecutter.checkpoint == "storage" and cookiecutter.result_storage != "local" %}
    with server():
        register()
        found = jobs()
    for name, done, total in found:
{%- elif cookiecutter.checkpoint != "none" %}
    for name, done, total in jobs():
{%- endif %}
{%- if cookiecutter.checkpoint != "none" %}
        print(f"{name{% if cookiecutter.checkpoint != "database" and cookiecutter.upsert != "none" %}.removesuffix(current){% endif %}}: {done} of {total} chunks done")
{%- endif %}
    killed = dead()
    for flow_run_id in killed:
        print(f"flow run {flow_run_id} was killed; `make resume` takes it up")
    if not killed:
        print("no run was killed")
    return 0


{% if cookiecutter.checkpoint != "none" -%}
@app.command
def reset(job: str) -> int:
    """Forget what is done of a job, so that the next run does it again. What was written stays.

    Parameters
    ----------
    job
        Its name, as `status` shows it.
    """
    _quiet(verbose=False)
    from .flows import checkpoint
{%- if cookiecutter.checkpoint == "storage" and cookiecutter.result_storage != "local" %}
    from .results import register
    from .server import server
{%- endif %}
{%- if cookiecutter.upsert != "none" %}
    from .tables import create, epoch
    from .upsert import database

    create(database())
{%- else %}
{% endif %}
    try:
        marks = checkpoint(job{% if cookiecutter.upsert != "none" %}, epoch(database()){% endif %})
    except ValueError as error:
        return _complain(error)
{%- if cookiecutter.checkpoint == "storage" and cookiecutter.result_storage != "local" %}
    with server():
        register()
        known = marks.reset()
{%- else %}
    known = marks.reset()
{%- endif %}
    if not known:
        print(f"nothing is known of a job {job!r}; `make status` shows those that there are", file=sys.stderr)
        return 2
    print(f"{job} is forgotten; the next run does it again")
    return 0


{% endif -%}
@app.command
def setup() -> int:
    """Prepare what the flow needs: the place for results{% if cookiecutter.upsert != "none" %}, and the tables{% endif %}. Idempotent."""
{%- if cookiecutter.checkpoint == "database" %}
    from . import checkpoints  # noqa: F401 - it adds its tables to the schema
{%- endif %}
{%- if cookiecutter.upsert in ["sqlite", "postgres"] %}
    from .migrations import upgrade
{%- endif %}
    from .probe import StoreError
    from .results import register
{%- if cookiecutter.result_storage != "local" %}
    from .server import server
{%- endif %}
{%- if cookiecutter.upsert != "none" %}
    from .tables import create
    from .upsert import database
{%- endif %}

    _quiet(verbose=False)
    try:
{%- if cookiecutter.result_storage == "local" %}
        print(register(replace=True))
{%- else %}
        with server():
            print(register(replace=True))
{%- endif %}
    except StoreError as error:
        return _complain(error)
{%- if cookiecutter.upsert != "none" %}
    create(database())
{%- if cookiecutter.upsert in ["sqlite", "postgres"] %}
    upgrade()
{%- endif %}
    print(f"tables are ready in {database().url}")
{%- endif %}
    return 0


@app.command
def prepare_server(*, within: int | None = None) -> int:
    """Tell the Prefect server what it has to know before `prefect deploy`. Idempotent.

    Parameters
    ----------
    within
        Seconds without a heartbeat after which a run is Crashed; three times what lies between two unless given.
    """
    _quiet(verbose=False)
    from .deployment import {% if cookiecutter.deployment == "docker" and cookiecutter.upsert == "postgres" %}save_database_url, {% endif %}watch_heartbeats
{%- if cookiecutter.result_storage != "local" %}
    from .probe import StoreError
    from .results import register
{%- endif %}
    from .server import server

    if within is not None and within < 10:
        return _complain(ValueError("--within must be at least 10"))
{%- if cookiecutter.result_storage == "local" %}
    with server():
{%- if cookiecutter.deployment == "docker" and cookiecutter.upsert == "postgres" %}
        save_database_url()
{%- endif %}
        print(f"a run without a heartbeat for {watch_heartbeats(within)} s will be Crashed")
{%- else %}
    try:
        with server():
            print(register(replace=True))
{%- if cookiecutter.deployment == "docker" and cookiecutter.upsert == "postgres" %}
            save_database_url()
{%- endif %}
            print(f"a run without a heartbeat for {watch_heartbeats(within)} s will be Crashed")
    except StoreError as error:
        return _complain(error)
{%- endif %}
    return 0


def _quiet(verbose: bool) -> None:
    if not verbose:
        # Read when Prefect sets its logging up, which is at the first flow run.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        # Else loggers that nobody has set up would write to the terminal, such as Google's, which keep to themselves.
        logging.lastResort = logging.NullHandler()


def _complain(error: Exception) -> int:
    print(error, file=sys.stderr)
    return 2


def _show(report: "RunReport") -> None:
    from .notes import records

    print(f"{report['job']}: {report['chunks']} chunks, {report['found']} found done, {report['done']} done now")
    print(", ".join(f"{count} {name}" for name, count in report["totals"].items()))
    if report["rejects_file"]:
        print(
            f"{records(report['rejected'])} set aside, with line and reason: {report['rejects_file']}\n"
            "correct the source and run again{% if cookiecutter.checkpoint != "none" or cookiecutter.cache_key != "none" %}: only what has changed is loaded{% endif %}"
        )


def main() -> None:
    """Run the command line. A user's mistake is one line on standard error, without a traceback."""
    try:
        from .settings import ENV_FILE

        # Prefect itself reads `.env` of the current folder only.
        for name, value in dotenv_values(ENV_FILE).items():
            if name.startswith("PREFECT_") and value:
                os.environ.setdefault(name, value)
        from .probe import StoreError
        from .server import ServerError
    except ValidationError as error:
        for fault in error.errors():
            where = "".join(f"{{ cookiecutter.package_name | upper }}_{str(part).upper()}: " for part in fault["loc"])
            print(where + fault["msg"].removeprefix("Value error, "), file=sys.stderr)
        sys.exit(2)
    try:
        app(sys.argv[1:], exit_on_error=False)
    except KeyboardInterrupt:
        print("stopped; {% if cookiecutter.checkpoint != "none" or cookiecutter.cache_key != "none" %}what is done stays done, and the same command does the rest{% else %}the same command does all again{% endif %}", file=sys.stderr)
        sys.exit(130)
    except ({% if cookiecutter.upsert != "none" %}ArgumentError, {% endif %}CycloptsError, ServerError) as error:
        sys.exit(_complain(error))
{%- if cookiecutter.upsert != "none" %}
    except SQLAlchemyError as error:
        print(f"the database fails: {str(getattr(error, 'orig', error)).splitlines()[0]}", file=sys.stderr)
        sys.exit(1)
{%- endif %}
{%- if cookiecutter.task_runner == "ray" %}
    except ConnectionAbortedError as error:
        # It quotes a traceback of Ray's server, which ends with the reason.
        print(f"the cluster refuses this run: {str(error).splitlines()[-1]}", file=sys.stderr)
        sys.exit(1)
{%- endif %}
    except (OSError, StoreError) as error:
        print(str(error).splitlines()[0], file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
