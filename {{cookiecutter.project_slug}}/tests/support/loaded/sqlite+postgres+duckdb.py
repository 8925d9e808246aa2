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
        # A table that a flow makes itself, as pandas does, is not on `metadata`.
        inspector = inspect(connection)
        made = {name: table(name) for name in inspector.get_table_names(inspector.default_schema_name)}
        for schema in inspector.get_schema_names():
            # DuckDB puts the database's name before it.
            short = schema.rpartition(".")[2]
            if short not in (inspector.default_schema_name, "information_schema"):
                made |= {f"{short}.{name}": table(name, schema=schema) for name in inspector.get_table_names(schema)}
        for name in {*made, *known} - {*internal.tables, "alembic_version"}:
            statement = select(known[name]) if name in known else select(text("*")).select_from(made[name])
            keys = {column.name for column in known[name].primary_key} if name in known else set()
            found[name] = [
                (
                    [str(value) for column, value in row.items() if column in keys],
                    {column: repr(value) for column, value in row.items() if column not in keys},
                )
                for row in connection.execute(statement).mappings()
            ]
    return found
