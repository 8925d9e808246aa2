"""Migrations of existing databases with Alembic: one file each in `migrations/versions`.

A new database is created from the tables in the code, and stamped with all migrations. Alembic is imported late, as
a run needs it only for a new database.
"""

import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
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
    """A table has another key or scale than the code. The message says what to do."""

    def __init__(self, what: str, there: str | int, here: str | int, table: str, kept: str) -> None:
        super().__init__(
            f"{what} {there} in the database, and {here} in the code. To make the table anew, without its rows:"
            f' make migration M="{table} anew" DROP={table}. To keep them, give the {kept} another name;'
            " docs/writing.md says how"
        )


class MissingMigrationError(ArgumentError):
    """The project lacks a migration that the database has or a later one follows. The message names it."""


def prepare(engine: Engine, upgrade: bool) -> None:
    """Create the tables in a new database; in an existing one, check that all tables and columns are there. Idempotent.

    Args:
        engine: the engine of the database.
        upgrade: whether to apply pending migrations.

    Raises:
        ChangedError: a table has another primary key than the code.
        MissingMigrationError: the project lacks a migration that the database has or a later one follows.
        MissingTablesError: a table or a column is missing: its migration does not exist, or is not applied.
    """
    if upgrade:
        from alembic import command

        create(engine)
        with _files_needed():
            command.upgrade(_config(), "head")
    missing = _missing(engine)
    check_keys(engine)
    if missing:
        names = ", ".join(f"the {kind} {name}" for kind, name in missing)
        how = f'if it has none, write it first: make migration M="add {missing[0][1].split()[0]}"'
        if upgrade:
            raise MissingTablesError(
                f"the database lacks {names}, and all migrations are applied: {how};"
                f" if a migration has created it, bring the {missing[0][0]} back from a backup"
            )
        raise MissingTablesError(f"the database lacks {names}: apply its migration with `make setup`; {how}")


def _missing(engine: Engine) -> list[tuple[str, str]]:
    """Create the tables of a new database, and return what an existing one lacks: `table` or `column`, and its name."""
    missing = [("table", name) for name in create(engine)]
    absent = {name for _, name in missing}
    with engine.connect() as connection:
        found = inspect(connection)
        for table in (table for table in metadata.sorted_tables if table.fullname not in absent):
            there = {column["name"]: column["type"] for column in found.get_columns(table.name, table.schema)}
            for column in table.columns:
                place, scale = f"{table.fullname}.{column.name}", getattr(column.type, "scale", None)
                kept = getattr(there.get(column.name), "scale", None)
                if column.name not in there:
                    missing.append(("column", place))
                elif scale is not None and kept is not None and kept < scale:
                    missing.append(("column", f"{place} with {scale} digits after the point"))
    return missing


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
                raise ChangedError(what, before, now, table.fullname, "table")


def add_tables(engine: Engine, tables: Sequence[Table]) -> str:
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
    prepare(engine, upgrade=True)
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
