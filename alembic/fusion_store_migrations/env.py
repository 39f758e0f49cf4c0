"""Runs the migrations on the connection that ``fusion_store_sql`` hands over, within its transaction."""

from __future__ import annotations

from alembic import context

from fusion_store_sql import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
)
context.run_migrations()
