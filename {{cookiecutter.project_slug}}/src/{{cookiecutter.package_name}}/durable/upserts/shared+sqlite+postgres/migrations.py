"""Migrations of existing databases with Alembic: one file each in `migrations/versions`.

A new database is created from the tables in the code, and stamped with all migrations. Alembic is imported late, as
a run needs it only for a new database.
"""

import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table, event, inspect
from sqlalchemy.exc import ArgumentError

from .settings import ROOT
from .tables import create, epochs, metadata

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = ROOT / "migrations"


class MissingTablesError(ArgumentError):
    """The database lacks tables or columns that the code has. The message names them, and says what to do."""


class ChangedError(ArgumentError):
    """A table or a column is not that of the code. The message says what to do."""

    @classmethod
    def of_rows(cls, what: str, there: str | int, here: str | int, table: str, kept: str) -> "ChangedError":
        """Return the error of a change that no rows survive."""
        return cls(
            f"{what} {there} in the database, and {here} in the code. To make the table anew, without its rows:"
            f' make migration M="{table} anew" DROP={table}, then make setup. To keep them, give the {kept} another'
            " name; docs/writing.md says how"
        )


class MissingMigrationError(ArgumentError):
    """The project lacks a migration that the database has or a later one follows. The message names it."""


Unlike = Callable[[Connection, Table], dict[str, tuple[str, str]]]
"""Returns the columns whose type is of another kind in the code: that in the database, and that in the code."""


def prepare(engine: Engine, upgrade: bool, unlike: Unlike) -> None:
    """Create the tables in a new database; in an existing one, check that they are those of the code. Idempotent.

    Args:
        engine: the engine of the database.
        upgrade: whether to apply pending migrations.
        unlike: compares the types of columns, in this kind of database.

    Raises:
        ChangedError: a table has another primary key than the code, or a column is not that of the code.
        MissingMigrationError: the project lacks a migration that the database has or a later one follows.
        MissingTablesError: a table or a column is missing: its migration does not exist, or is not applied.
    """
    if upgrade:
        from alembic import command

        create(engine)
        with _files_needed():
            command.upgrade(_config(), "head")
    missing, changed = _compared(engine, unlike)
    check_keys(engine)
    if missing:
        names = ", ".join(f"the {kind} {name}" for kind, name in missing)
        lost = f"; if a migration has created it, bring the {missing[0][0]} back from a backup" if upgrade else ""
        what = _to_migrate(f"the database lacks {names}", f"add {missing[0][1].split()[0]}", upgrade)
        raise MissingTablesError(f"{what}{lost}")
    if changed:
        raise ChangedError(_to_migrate("; ".join(changed.values()), f"change {next(iter(changed))}", upgrade))


def _to_migrate(what: str, name: str, upgrade: bool) -> str:
    """Return what differs, and how a migration brings it to the database."""
    there = ", and all migrations are applied:" if upgrade else ": apply its migration with `make setup`;"
    return f'{what}{there} if it has none, write it first: make migration M="{name}"'


def _compared(engine: Engine, unlike: Unlike) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Create the tables of a new database, and compare those of an existing one with the code.

    Returns:
        What the database lacks, as `table` or `column` and its name; and how other columns differ, by their place.
    """
    missing = [("table", name) for name in create(engine)]
    absent = {name for _, name in missing}
    changed = {}
    with engine.connect() as connection:
        found = inspect(connection)
        for table in (table for table in metadata.sorted_tables if table.fullname not in absent):
            there = {column["name"]: column for column in found.get_columns(table.name, table.schema)}
            for name, kinds in unlike(connection, table).items():
                place = f"{table.fullname}.{name}"
                changed[place] = f"the column {place} is {kinds[0]} in the database, and {kinds[1]} in the code"
            for column in table.columns:
                place, scale = f"{table.fullname}.{column.name}", getattr(column.type, "scale", None)
                known = there.pop(column.name, None)
                kept = getattr(known["type"], "scale", None) if known else None
                if known is None:
                    missing.append(("column", place))
                elif scale is not None and kept is not None and kept < scale:
                    missing.append(("column", f"{place} with {scale} digits after the point"))
                elif column.nullable and not known["nullable"]:
                    changed[place] = f"the column {place} must have a value in the database, and not in the code"
            for name, known in there.items():
                if not (known["nullable"] or known["default"] or known.get("identity") or known.get("computed")):
                    place = f"{table.fullname}.{name}"
                    changed[place] = f"the column {place} must have a value in the database, and the code lacks it"
    return missing, changed


def check_keys(engine: Engine, but: Sequence[str] = ()) -> None:
    """Check that the tables have the primary keys of the code.

    Args:
        engine: the engine of the database.
        but: the tables that are to be dropped.

    Raises:
        ChangedError: one has another key.
    """
    with engine.connect() as connection:
        found = inspect(connection)
        for table in metadata.sorted_tables:
            if table.fullname in but or not found.has_table(table.name, table.schema):
                continue
            there = found.get_pk_constraint(table.name, table.schema)["constrained_columns"]
            here = [column.name for column in table.primary_key]
            if sorted(there) != sorted(here):
                before, now = (", ".join(names) or "none" for names in (there, here))
                what = f"the primary key of the table {table.fullname} is"
                raise ChangedError.of_rows(what, before, now, table.fullname, "table")


def add_tables(engine: Engine, tables: Sequence[Table], unlike: Unlike) -> str:
    """Write a migration that creates new tables, and apply it to this database.

    Returns:
        A line with the file that was written.
    """
    from alembic import command
    from alembic.operations.ops import CreateTableOp, DowngradeOps, DropTableOp, UpgradeOps

    names = " and ".join(table.name for table in tables)

    def only_these(_: Any, __: Any, scripts: list[Any]) -> None:
        scripts[0].upgrade_ops = UpgradeOps([CreateTableOp.from_table(table) for table in tables])
        scripts[0].downgrade_ops = DowngradeOps([DropTableOp.from_table(table) for table in tables])

    script: Any = command.revision(
        _config(), message=f"add {names}", autogenerate=True, process_revision_directives=only_these
    )
    prepare(engine, upgrade=True, unlike=unlike)
    return f"wrote {Path(script.path).relative_to(ROOT)}"


def pending(engine: Engine) -> list[str]:
    """Return the migrations that `make setup` would apply to the database, oldest first.

    Raises:
        MissingMigrationError: the project lacks a migration that the database has or a later one follows.
    """
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with engine.connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    scripts = ScriptDirectory(str(FOLDER))
    with _files_needed():
        left = list(scripts.iterate_revisions("heads", heads or "base"))
    return [f"{script.revision} ({script.doc})" for script in left][::-1]


@contextmanager
def _files_needed() -> Iterator[None]:
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    try:
        with warnings.catch_warnings():
            # Alembic warns of a file that is missing before it fails.
            warnings.simplefilter("ignore")
            yield
    except (CommandError, RevisionError, KeyError) as error:
        raise MissingMigrationError(
            f"the database, or a later migration, needs one that is not in {FOLDER.name}/versions ({error}): bring its"
            " file back, perhaps from another branch; docs/writing.md says how to start anew"
        ) from error


def _config() -> "Config":
    from alembic.config import Config

    config = Config(ROOT / "alembic.ini", cmd_opts=Namespace(quiet=True))
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


@event.listens_for(epochs, "after_create")
def _stamp(_: object, connection: Connection, **__: Any) -> None:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with _files_needed():
        MigrationContext.configure(connection).stamp(ScriptDirectory(str(FOLDER)), "heads")
