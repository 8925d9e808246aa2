"""Types of columns: each is one that the database has after it was created, so that runs can tell another one."""

import enum
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Column, Integer, MetaData, Table

from {{ cookiecutter.package_name }}.durable import ExactNumeric, UtcDateTime, tables, upserts
from {{ cookiecutter.package_name }}.durable.upserts import database


class Colour(enum.Enum):
    RED = 1


KINDS = (
    *(kind() for kind in (sqlalchemy.SmallInteger, sqlalchemy.Integer, sqlalchemy.BigInteger, sqlalchemy.Boolean)),
    *(kind() for kind in (sqlalchemy.Float, sqlalchemy.Double, sqlalchemy.REAL, sqlalchemy.Text, sqlalchemy.Uuid)),
    *(kind() for kind in (sqlalchemy.Date, sqlalchemy.DateTime, sqlalchemy.Time, sqlalchemy.Interval, UtcDateTime)),
    *(kind() for kind in (sqlalchemy.LargeBinary, sqlalchemy.PickleType, sqlalchemy.JSON, sqlalchemy.String)),
    *(kind(5) for kind in (sqlalchemy.String, sqlalchemy.Unicode, sqlalchemy.CHAR)),
    *(kind(9, 2) for kind in (sqlalchemy.Numeric, sqlalchemy.DECIMAL, ExactNumeric)),
    sqlalchemy.Enum(Colour),
    sqlalchemy.Enum("a", "b", name="letters"),
    sqlalchemy.Enum("a", "b", native_enum=False),
    sqlalchemy.BigInteger().with_variant(sqlalchemy.Integer(), "sqlite"),
)


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_type_that_a_table_was_created_with_is_known_again(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    upserts.prepare()
    metadata = MetaData()
    for module in {tables, getattr(upserts, "migrations", tables)}:
        monkeypatch.setattr(module, "metadata", metadata)
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    Table("two words", metadata, key, Column("plain", kind), Column("Select", kind, nullable=False))
    metadata.create_all(database())
    upserts.prepare()
