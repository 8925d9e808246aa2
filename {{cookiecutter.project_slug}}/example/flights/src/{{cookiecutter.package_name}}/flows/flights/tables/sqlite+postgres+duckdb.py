"""The table of the flights."""

from sqlalchemy import Column, Integer, PrimaryKeyConstraint, String, Table

from ...durable import UtcDateTime, metadata

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
"""Flights by their natural key. The columns are those of `source.Flight`."""
