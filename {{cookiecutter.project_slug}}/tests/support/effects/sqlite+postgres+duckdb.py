"""The effect of a step, for the tests of checkpoints: a row, which is there once the transaction has committed."""

from sqlalchemy import Column, Connection, MetaData, String, Table, select

from {{ cookiecutter.package_name }}.durable.upserts import database, upsert

effects = Table("effects", MetaData(), Column("step", String(200), primary_key=True))


def prepare() -> None:
    """Make the place for effects."""
    with database().begin() as connection:
        effects.create(connection)


def leave(connection: Connection, key: str) -> None:
    """Have the effect of a step. A repeat leaves it as it is."""
    upsert(connection, effects, [{"step": key}])


def happened() -> set[str]:
    """The steps whose whole effect is there."""
    with database().connect() as connection:
        return set(connection.scalars(select(effects.c.step)))
