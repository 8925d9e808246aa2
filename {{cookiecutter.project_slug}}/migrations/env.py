"""How Alembic reaches the project's database and the tables of its flows."""

import sys
from typing import Any

from alembic import context
from alembic.autogenerate.render import _repr_type
from alembic.operations.ops import AddColumnOp, ModifyTableOps
from sqlalchemy import literal, select, table
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.types import TypeDecorator, UserDefinedType

from {{ cookiecutter.package_name }}.durable.errors import InputError

AUTOGENERATES: bool = getattr(context.config.cmd_opts, "autogenerate", False)
"""Whether this is `make migration`."""

try:
    from {{ cookiecutter.package_name }}.durable import checkpoints, discovery, migrations, tables  # noqa: F401 - all tables stand on metadata
    from {{ cookiecutter.package_name }}.durable.upserts import database

    discovery.flows()
    # So that a database that is not there is known before Alembic asks for it.
    database().connect().close()
    if AUTOGENERATES:
        migrations.pending(database())
        migrations.check_keys(database())
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


def check(_: Any, __: Any, scripts: list[Any]) -> None:
    """Write no migration that changes nothing, or that cannot be applied."""
    if not AUTOGENERATES:
        return
    if scripts[0].upgrade_ops.is_empty():
        scripts.clear()
        print("The database has the tables of the code: no migration is written.")
        return
    for change in scripts[0].upgrade_ops.ops:
        if isinstance(change, ModifyTableOps) and (names := unfillable(change)):
            lack = f"rows of {change.table_name} would have no value for the new column {', '.join(names)}"
            print(f"{lack}: make it nullable, or give it a server_default", file=sys.stderr)
            sys.exit(2)


def unfillable(change: ModifyTableOps) -> list[str]:
    """Return the new columns of a table that must have a value, where rows that are there would have none."""
    added = [part for part in change.ops if isinstance(part, AddColumnOp)]
    names = [part.column.name for part in added if not (part.column.nullable or part.column.server_default)]
    rows = select(literal(1)).select_from(table(change.table_name, schema=change.schema)).limit(1)
    # SQLite refuses it without a row too, unless another change has the table copied.
    refused = context.get_bind().dialect.name == "sqlite" and len(added) == len(change.ops)
    return names if names and (refused or context.get_bind().execute(rows).first()) else []


with database().begin() as connection:
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        include_object=is_ours,
        render_item=plain_type,
        process_revision_directives=check,
        # SQLite changes a table by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    context.run_migrations()
