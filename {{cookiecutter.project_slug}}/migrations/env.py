"""How Alembic reaches the project's database and the tables of its flows."""

import sys
from collections.abc import Iterator
from typing import Any

from alembic import context
from alembic.autogenerate.render import _repr_type
from alembic.operations.ops import (
    AddColumnOp,
    AlterColumnOp,
    CreateIndexOp,
    CreateTableOp,
    DropColumnOp,
    DropTableOp,
    ExecuteSQLOp,
    MigrateOperation,
    ModifyTableOps,
)
from prefect import Flow
from sqlalchemy import (
    ColumnElement,
    Delete,
    MetaData,
    Table,
    TableClause,
    Update,
    column,
    delete,
    func,
    inspect,
    literal,
    select,
    table,
    text,
    update,
)
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.types import TypeDecorator, UserDefinedType

from {{ cookiecutter.package_name }}.durable.errors import InputError

AUTOGENERATES: bool = getattr(context.config.cmd_opts, "autogenerate", False)
"""Whether this is `make migration`."""
GIVEN = list(context.get_x_argument()) if AUTOGENERATES else []
"""What it is told: `rename=orders.net:amount`, `drop=orders.note`, `drop=orders`."""

try:
    from {{ cookiecutter.package_name }}.durable import checkpoints, claims, discovery, high_water, tables
    from {{ cookiecutter.package_name }}.durable.upserts import check_rows, database, pending

    FLOWS = discovery.flows()
    # So that a database that is not there is known before Alembic asks for it.
    database().connect().close()
    if AUTOGENERATES:
        if waiting := pending():
            raise InputError(f"migrations are not applied: {', '.join(waiting)}; call `make setup` first")
        check_rows(but=[given.removeprefix("drop=") for given in GIVEN])
except (InputError, ArgumentError, OperationalError) as error:
    print(error, file=sys.stderr)
    sys.exit(2)


def is_ours(_: Any, __: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Leave tables alone that no flow has."""
    return not (kind == "table" and reflected and compare_to is None)


def is_kept(name: str | None, kind: str, parents: Any) -> bool:
    """Do not compare a table of DROP with that of the code, which is created anew."""
    return not (kind == "table" and f"drop={parents['schema_qualified_table_name']}" in GIVEN)


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
    forth, back = scripts[0].upgrade_ops.ops, scripts[0].downgrade_ops.ops
    # What goes forth goes back in the reverse order.
    for change, reverse in zip(forth, reversed(back), strict=True):
        if isinstance(change, ModifyTableOps):
            keep_values(change, reverse)
            if names := unfillable(change):
                lack = f"rows of {change.table_name} would have no value for the new column {', '.join(names)}"
                refuse(f"{lack}: make it nullable, or give it a server_default")
    drop_tables(forth, back)
    if GIVEN:
        name, _, value = GIVEN[0].partition("=")
        refuse(f"{name.upper()}={value} fits no change: name a table, or a column that the code lacks and a new one")
    if not forth:
        scripts.clear()
        print("The database has the tables of the code: no migration is written.")


def refuse(why: str) -> None:
    """End `make migration`: nothing is written."""
    print(why, file=sys.stderr)
    sys.exit(2)


def drop_tables(forth: list[MigrateOperation], back: list[MigrateOperation]) -> None:
    """Drop the tables of DROP before anything else, and have their flows load all again."""
    for given in GIVEN.copy():
        schema, _, name = given.removeprefix("drop=").rpartition(".")
        if name in tables.internal.tables or not inspect(context.get_bind()).has_table(name, schema or None):
            continue
        GIVEN.remove(given)
        there = Table(name, MetaData(), schema=schema or None, autoload_with=context.get_bind())
        again = [ExecuteSQLOp(plain_sql(change)) for change in load_again(there.fullname)]
        forth[:0] = [*again, DropTableOp.from_table(there)]
        back += [CreateTableOp.from_table(there), *map(CreateIndexOp.from_index, there.indexes)]


def load_again(name: str) -> Iterator[Delete | Update]:
    """Return the changes that forget what the flows of a table have done."""
    flows = [flow for flow, made in FLOWS.items() if name in tables_of(made)]
    if not flows:
        print(f"All rows of {name} will be dropped.")
        return
    # Claims are always in the database.
    for flow in flows:
        for job in (*checkpoints.JOBS, *high_water.JOBS, *claims.JOBS):
            yield delete(job.table).where(func.substr(job, 1, len(flow) + 1) == f"{flow}/")
    if checkpoints.JOBS:
        print(f"All rows of {name} will be dropped; the next run of {' and of '.join(flows)} loads all again.")
    else:
        print(f"All rows of {name} will be dropped; the next run of each flow loads all again.")
        # What was done is known elsewhere, for the id of this database. Each database gets an id of its own.
        sqlite = context.get_bind().dialect.name == "sqlite"
        new = "lower(hex(randomblob(16)))" if sqlite else "replace(CAST(gen_random_uuid() AS text), '-', '')"
        yield update(tables.epochs).values(epoch=text(new))


def plain_sql(statement: Delete | Update) -> str:
    """Return the SQL of a statement, with its values in it; a bare colon would begin a parameter."""
    sql = statement.compile(dialect=context.get_bind().dialect, compile_kwargs={"literal_binds": True})
    return str(sql).replace(":", r"\:")


def tables_of(flow: Flow[Any, Any]) -> set[str]:
    """Return the names of the tables in a flow's module, and in the others of its folder."""
    folder, _, module = flow.fn.__module__.rpartition(".")
    prefix = f"{folder}." if folder.endswith(f".flows.{folder.rpartition('.')[2]}") else f"{folder}.{module}."
    modules = [module for name, module in sys.modules.items() if f"{name}.".startswith(prefix)]
    return {value.fullname for module in modules for value in vars(module).values() if isinstance(value, Table)}


def keep_values(change: ModifyTableOps, back: ModifyTableOps) -> None:
    """Rename columns as RENAME says, drop those of DROP, and refuse what would lose values otherwise."""
    table_name = f"{change.schema}.{change.table_name}" if change.schema else change.table_name
    added = [part.column.name for part in change.ops if isinstance(part, AddColumnOp)]
    for part in tuple(change.ops):
        place = f"{table_name}.{getattr(part, 'column_name', '')}"
        if isinstance(part, AlterColumnOp):
            before, after = (getattr(kind, "scale", None) for kind in (part.existing_type, part.modify_type))
            if None not in (before, after) and after < before:
                refuse(f"values of {place} would be rounded to {after} digits after the point: keep its {before}")
            rows = table(change.table_name, column(part.column_name), schema=change.schema)
            if part.modify_nullable is False and any_row(rows, rows.c[part.column_name].is_(None)):
                refuse(f"rows of {table_name} have no value for {place}: fill them first, or leave it nullable")
        if not isinstance(part, DropColumnOp):
            continue
        new = [name for name in added if f"rename={place}:{name}" in GIVEN]
        if new:
            GIVEN.remove(f"rename={place}:{new[0]}")
            rename(change, part.column_name, new[0])
            rename(back, new[0], part.column_name)
        elif f"drop={place}" in GIVEN:
            GIVEN.remove(f"drop={place}")
        else:
            other = added[0] if len(added) == 1 else "NEW"
            refuse(
                f"the code has no column {place} any more, and its values would be lost. If it has another name now:"
                f" RENAME={place}:{other}; to drop it: DROP={place}"
            )


def rename(change: ModifyTableOps, old: str, new: str) -> None:
    """Have a table's changes rename a column, instead of dropping it and adding another."""
    renamed = AlterColumnOp(change.table_name, old, schema=change.schema, modify_name=new)
    others = [
        part
        for part in change.ops
        if not (isinstance(part, DropColumnOp) and part.column_name == old)
        and not (isinstance(part, AddColumnOp) and part.column.name == new)
    ]
    change.ops = [renamed, *others]


def unfillable(change: ModifyTableOps) -> list[str]:
    """Return the new columns of a table that must have a value, where rows that are there would have none."""
    added = [part for part in change.ops if isinstance(part, AddColumnOp)]
    names = [part.column.name for part in added if not (part.column.nullable or part.column.server_default)]
    rows = table(change.table_name, schema=change.schema)
    # SQLite refuses it without a row too, unless another change has the table copied.
    refused = context.get_bind().dialect.name == "sqlite" and len(added) == len(change.ops)
    return names if names and (refused or any_row(rows)) else []


def any_row(rows: TableClause, *where: ColumnElement[bool]) -> bool:
    """Tell whether a table has a row."""
    return context.get_bind().execute(select(literal(1)).select_from(rows).where(*where).limit(1)).first() is not None


with database().begin() as connection:
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        include_object=is_ours,
        include_name=is_kept,
        render_item=plain_type,
        process_revision_directives=check,
        # SQLite changes a table by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    context.run_migrations()
