"""How Alembic reaches the project's database and its tables."""

from alembic import context

{% if cookiecutter.checkpoint == "database" -%}
from {{ cookiecutter.package_name }}.checkpoints import metadata
{% else -%}
from {{ cookiecutter.package_name }}.tables import metadata
{% endif -%}
from {{ cookiecutter.package_name }}.upsert import database

with database().begin() as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
{%- if cookiecutter.upsert == "sqlite" %}
        # SQLite changes a table by copying it.
        render_as_batch=True,
{%- endif %}
    )
    context.run_migrations()
