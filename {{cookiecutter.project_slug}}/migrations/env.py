"""How Alembic reaches the project's database and the tables of its flows."""

from typing import Any

from alembic import context
from sqlalchemy import TypeDecorator

from {{ cookiecutter.package_name }}.durable import checkpoints, discovery, tables  # noqa: F401 - all tables stand on metadata
from {{ cookiecutter.package_name }}.durable.upserts import database


def is_ours(_: Any, __: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Leave tables alone that no flow has: a migration never drops one."""
    return not (kind == "table" and reflected and compare_to is None)


def plain_type(kind: str, item: Any, autogenerate: Any) -> Any:
    """Write the type that the database has, so that a migration does not depend on the code as it is now."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.load_dialect_impl(database().dialect)!r}"
    return False


discovery.flows()
with database().begin() as connection:
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        include_object=is_ours,
        render_item=plain_type,
        # SQLite changes a table by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    context.run_migrations()
