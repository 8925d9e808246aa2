"""What flows have loaded, for the proof: the rows of all tables."""

from typing import Any

from sqlalchemy import inspect, select, table, text

from {{ cookiecutter.package_name }}.durable import metadata
from {{ cookiecutter.package_name }}.durable.tables import internal
from {{ cookiecutter.package_name }}.durable.upserts import database


def rows() -> dict[str, list[Any]]:
    """Return the rows of all tables but `durable`'s own, by table.

    A row is its key and its other columns, as text; the key is empty in a table without a primary key.
    """
    found: dict[str, list[Any]] = {}
    with database().connect() as connection:
        known = {each.fullname: each for each in metadata.sorted_tables}
        for name in {*inspect(connection).get_table_names(), *known} - {*internal.tables, "alembic_version"}:
            # A table that a flow makes itself, as pandas does, is not on `metadata`.
            statement = select(known[name]) if name in known else select(text("*")).select_from(table(name))
            keys = {column.name for column in known[name].primary_key} if name in known else set()
            found[name] = [
                (
                    [str(value) for column, value in row.items() if column in keys],
                    {column: repr(value) for column, value in row.items() if column not in keys},
                )
                for row in connection.execute(statement).mappings()
            ]
    return found
