"""Moving the schema with Alembic. Imported only when something is to be moved."""

from __future__ import annotations

import logging
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from fusion_store_sql._schema import HEAD

SCRIPT_LOCATION: Final = "fusion_store_migrations:"


def upgrade(connection: Connection) -> None:
    """Bring the schema to head, inside the connection's transaction."""
    command.upgrade(_config(connection), HEAD)


def downgrade(connection: Connection, revision: str) -> None:
    """Bring the schema back to a revision, ``base`` being an empty database."""
    command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", SCRIPT_LOCATION)
    config.attributes["connection"] = connection
    return config
