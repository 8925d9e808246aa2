"""The tables, as SQLAlchemy Core metadata: the one schema."""

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    Engine,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    TypeDecorator,
    delete,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its time zone: stored and given back in UTC, whether or not the database keeps zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise ValueError(f"{type(value).__name__} where datetime is wanted")
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

flights = Table(
    "flights",
    metadata,
    Column("year", Integer, nullable=False),
    Column("month", Integer, nullable=False),
    Column("day", Integer, nullable=False),
    Column("dep_time", Integer),
    Column("sched_dep_time", Integer, nullable=False),
    Column("dep_delay", Integer),
    Column("arr_time", Integer),
    Column("sched_arr_time", Integer, nullable=False),
    Column("arr_delay", Integer),
    Column("carrier", String(2), nullable=False),
    Column("flight", Integer, nullable=False),
    Column("tailnum", String(8)),
    Column("origin", String(3), nullable=False),
    Column("dest", String(3), nullable=False),
    Column("air_time", Integer),
    Column("distance", Integer, nullable=False),
    Column("hour", Integer, nullable=False),
    Column("minute", Integer, nullable=False),
    Column("time_hour", UtcDateTime, nullable=False),
    # Time first: a day's rows stand together in the index, and a chunk writes few of its pages.
    PrimaryKeyConstraint("time_hour", "carrier", "flight"),
)
"""Flights by their natural key. The columns are those of `flights.Flight`."""

epochs = Table("epochs", metadata, Column("epoch", String(32), primary_key=True))
"""One row: which filling of these tables this is. See `epoch`."""


def create(engine: Engine) -> None:
    """Create the tables in a new database. One that has them already is left as it is. Idempotent."""
    if _exist(engine):
        return
    try:
        with engine.begin() as connection:
            metadata.create_all(connection)
            connection.execute(insert(epochs).values(epoch=uuid4().hex))
    except DBAPIError:
        # Unless another process did so at the same time.
        if not _exist(engine):
            raise


def _exist(engine: Engine) -> bool:
    with engine.connect() as connection:
        return inspect(connection).has_table(epochs.name)


def epoch(engine: Engine) -> str:
    """Return the name of this filling of the tables: 32 hex digits, others after the database was made anew.

    A task that writes here takes it as an input. A result that was stored for a database that is gone then does not
    pass for rows in this one.
    """
    with engine.connect() as connection:
        name: str = connection.execute(select(epochs.c.epoch)).scalar_one()
        return name


def renew_epoch(engine: Engine) -> None:
    """Let every task that writes here run again, whatever results are stored."""
    with engine.begin() as connection:
        connection.execute(delete(epochs))
        connection.execute(insert(epochs).values(epoch=uuid4().hex))
