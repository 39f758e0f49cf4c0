"""The vault in an SQL database, through SQLAlchemy Core."""

from fusion_store_sql._backend import backend
from fusion_store_sql._repository import SQLTokenRepository
from fusion_store_sql._schema import HEAD, metadata

__all__ = ["HEAD", "SQLTokenRepository", "backend", "metadata"]
