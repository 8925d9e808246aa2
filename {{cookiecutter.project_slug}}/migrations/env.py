"""How Alembic reaches the project's database and its tables."""

from alembic import context

from {{ cookiecutter.package_name }} import tables
{%- if cookiecutter.checkpoint == "database" %}
from {{ cookiecutter.package_name }} import checkpoints  # noqa: F401 - it adds its tables
{%- endif %}
from {{ cookiecutter.package_name }}.upsert import database

with database().begin() as connection:
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
{%- if cookiecutter.upsert == "sqlite" %}
        # SQLite changes a table by copying it.
        render_as_batch=True,
{%- endif %}
    )
    context.run_migrations()
