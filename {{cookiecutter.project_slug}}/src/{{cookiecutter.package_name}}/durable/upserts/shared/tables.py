"""The schema: the metadata of your tables, their column types, and their creation."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import update_wrapper
from pathlib import Path
from threading import Lock
from uuid import uuid4

from sqlalchemy import (
    URL,
    Column,
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    String,
    Table,
    TypeDecorator,
    delete,
    false,
    insert,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, DBAPIError

from .settings import PREFIX, ROOT, settings


class UtcDateTime(TypeDecorator[datetime]):
    """A timestamp with its time zone: stored and returned in UTC, whether or not the database keeps time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise ValueError(f"{type(value).__name__} where datetime is wanted")
        if value.tzinfo is None:
            raise ValueError("a timestamp has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class OneEngine:
    """A function that makes an engine on its first call, and returns it from then on.

    Threads that call it at once get the same one; with `functools.cache` each could make its own.
    """

    def __init__(self, make: Callable[[], Engine]) -> None:
        update_wrapper(self, make)
        self.make = make
        self.made: Engine | None = None
        self.lock = Lock()

    def __call__(self) -> Engine:
        """Return the engine."""
        with self.lock:
            self.made = self.made or self.make()
            return self.made

    def cache_clear(self) -> None:
        """Have the next call make another one."""
        self.made = None


metadata = MetaData()
"""The metadata of your tables: put them on it, to have them created and migrated."""
internal = MetaData()
"""The metadata of this folder's tables, which need no migrations: missing ones are created."""

epochs = Table("epochs", internal, Column("epoch", String(32), primary_key=True))
"""One row: the id of this database. See `epoch`."""


def create(engine: Engine) -> list[str]:
    """Create all tables in a new database; in an existing one, only missing tables of `internal`. Idempotent.

    Returns:
        The names of the tables on `metadata` that the database still lacks.
    """
    if not _exist(engine):
        try:
            with engine.begin() as connection:
                internal.create_all(connection)
                metadata.create_all(connection)
                connection.execute(insert(epochs).values(epoch=uuid4().hex))
        except DBAPIError:
            # Another process may have created them at the same time.
            if not _exist(engine):
                raise
    if lacking := _lacking(engine):
        try:
            internal.create_all(engine, lacking)
        except DBAPIError:
            # Another process may have created them at the same time.
            if _lacking(engine):
                raise
    with engine.connect() as connection:
        found = inspect(connection)
        return [t.fullname for t in metadata.sorted_tables if not found.has_table(t.name, schema=t.schema)]


def _lacking(engine: Engine) -> list[Table]:
    with engine.connect() as connection:
        found = inspect(connection)
        return [table for table in internal.sorted_tables if not found.has_table(table.name)]


def _exist(engine: Engine) -> bool:
    with engine.connect() as connection:
        return inspect(connection).has_table(epochs.name)


def table_names(engine: Engine) -> set[str]:
    """Return the names of the tables that the code or the database has."""
    with engine.connect() as connection:
        return {*metadata.tables, *internal.tables, *inspect(connection).get_table_names()}


def check_rights(connection: Connection) -> None:
    """Check that rows of all tables can be inserted and updated, and those of `internal` deleted, without writing any.

    Raises:
        DBAPIError: the database is read-only, or its user lacks a right.
    """
    for table in (*internal.sorted_tables, *metadata.sorted_tables):
        # The database itself fills the others.
        columns = [column for column in table.columns if column.computed is None and column.identity is None][:1]
        none = select(*columns).where(false())
        connection.execute(insert(table).from_select(columns, none, include_defaults=False))
        connection.execute(update(table).values({column: column for column in columns}).where(false()))
        if table.metadata is internal:
            connection.execute(delete(table).where(false()))


def epoch(engine: Engine) -> str:
    """Return the database id: 32 hex digits, which change when the database is created anew.

    A task that writes to the database takes the id as an input. So a stored result from an older database does not
    stand for rows in this one.
    """
    with engine.connect() as connection:
        name: str = connection.execute(select(epochs.c.epoch)).scalar_one()
        return name


def file_url(given: str, driver: str, name: str) -> URL:
    """Return the URL of a database file; a relative path starts from the project's folder.

    Args:
        given: the setting; empty: the file `name` in `home`.
        driver: the URL's scheme.
        name: the default file's name in `home`.

    Raises:
        ArgumentError: the setting does not name a file of this kind of database.
    """
    if not given:
        return URL.create(driver, database=str(_default_file(name)))
    url = make_url(given) if given.startswith(f"{driver}:///") else None
    if url is None or url.database in (None, "", ":memory:"):
        raise ArgumentError(f"{PREFIX}DATABASE_URL must begin with {driver}:/// and name a file that tables are in")
    # A path of another form, such as `file:…?uri=true`, stays as it is.
    return url if ":" in url.database else url.set(database=str(ROOT / Path(url.database).expanduser()))


def _default_file(name: str) -> Path:
    """Return the default database file in `home`, for projects whose settings name no other.

    Raises:
        ArgumentError: it does not exist, but a file with another name does, as created by versions before 0.2.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    file = settings.home / name
    others = [other for other in settings.home.glob(f"*{file.suffix}") if other != file]
    if others and not file.exists():
        raise ArgumentError(
            f"{others[0]} is there, but not {file}: rename it (with its -wal and -shm, if they are there),"
            f" or set {PREFIX}DATABASE_URL"
        )
    return file
