"""How Alembic reaches the project's database and the tables of its flows."""

import sys
from typing import Any

from alembic import context
from alembic.autogenerate.render import _repr_type
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.types import TypeDecorator, UserDefinedType

from {{ cookiecutter.package_name }}.durable.errors import InputError

try:
    from {{ cookiecutter.package_name }}.durable import checkpoints, discovery, tables  # noqa: F401 - all tables stand on metadata
    from {{ cookiecutter.package_name }}.durable.upserts import database

    discovery.flows()
    # So that a database that is not there is known before Alembic asks for it.
    database().connect().close()
except (InputError, ArgumentError, OperationalError) as error:
    print(error, file=sys.stderr)
    sys.exit(2)


def is_ours(_: Any, __: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Leave tables alone that no flow has: a migration never drops one."""
    return not (kind == "table" and reflected and compare_to is None)


def plain_type(kind: str, item: Any, autogenerate: Any) -> Any:
    """Write the type that the database has, so that a migration does not depend on the code as it is now."""
    if kind != "type":
        return False
    plain = item.load_dialect_impl(database().dialect) if isinstance(item, TypeDecorator) else item
    known = next(base for base in type(plain).__mro__ if base.__module__.startswith("sqlalchemy."))
    if issubclass(UserDefinedType, known):
        # Its own class alone knows what it is in the database.
        autogenerate.imports.add(f"import {type(plain).__module__}")
    elif type(plain) is not known:
        plain = plain.adapt(known)
    return False if type(plain) is type(item) else _repr_type(plain, autogenerate)


def drop_empty(_: Any, __: Any, scripts: list[Any]) -> None:
    """Write no migration that changes nothing."""
    if getattr(context.config.cmd_opts, "autogenerate", False) and scripts[0].upgrade_ops.is_empty():
        scripts.clear()
        print("The database has the tables of the code: no migration is written.")


with database().begin() as connection:
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        include_object=is_ours,
        render_item=plain_type,
        process_revision_directives=drop_empty,
        # SQLite changes a table by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    context.run_migrations()
