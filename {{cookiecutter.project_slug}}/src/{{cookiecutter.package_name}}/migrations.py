"""Changes of the tables of a database that holds rows already: Alembic's, one file each in `migrations/versions`.

A new database is made as `tables.py` has it, and is marked as one that has all of them.
"""

from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event

from .settings import ROOT
from .tables import epochs

FOLDER = ROOT / "migrations"


def upgrade() -> None:
    """Apply the migrations that this database does not have."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    command.upgrade(config, "head")


@event.listens_for(epochs, "after_create")
def _stamp(_: object, connection: Connection, **__: Any) -> None:
    MigrationContext.configure(connection).stamp(ScriptDirectory(str(FOLDER)), "heads")
