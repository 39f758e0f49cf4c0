"""The URL schemes of SQL databases: from a URL to an open repository, and its schema."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fusion_store import ConfigError, CorruptStore, InvalidInput, SchemaOutOfDate, SchemaTooNew, StoreNotFound
from fusion_store.backend import Backend, OpenOptions, StoreURL
from fusion_store_sql._location import Location
from fusion_store_sql._mysql import MySQLLocation
from fusion_store_sql._postgresql import PostgreSQLLocation
from fusion_store_sql._repository import SQLTokenRepository
from fusion_store_sql._schema import HEAD, LOCK_TABLE, REVISIONS, metadata
from fusion_store_sql._sqlite import SQLiteLocation

_LOCATIONS: Final[dict[str, Callable[[StoreURL], Location]]] = {
    "sqlite": SQLiteLocation.of,
    "postgresql": PostgreSQLLocation,
    "mysql": MySQLLocation,
    "mariadb": MySQLLocation,
}
_STAMP_TABLE: Final = "alembic_version"
_EMPTY: Final = ""


class _SQLBackend(Backend):
    newest_schema = HEAD

    def open(self, url: StoreURL, options: OpenOptions) -> SQLTokenRepository:
        location = _locate(url)
        revision = _stored_revision(location)
        if revision == _EMPTY:
            if not options.create:
                raise StoreNotFound("there is no vault at that place")
            location.prepare()
            _upgrade(location)
            location.finish()
        else:
            _check_revision(revision)
        return SQLTokenRepository(location, clock=options.clock, token_prefix=options.token_prefix)

    def files(self, url: StoreURL) -> list[Path]:
        return _locate(url).files()

    def current_schema(self, url: StoreURL) -> str:
        revision = _stored_revision(_locate(url))
        if revision == _EMPTY:
            raise StoreNotFound("there is no vault at that place")
        return revision

    def upgrade_schema(self, url: StoreURL) -> None:
        if self.current_schema(url) not in REVISIONS:
            raise SchemaTooNew("the vault's schema comes from a newer release: upgrade fusion-store")
        _upgrade(_locate(url))

    def downgrade_schema(self, url: StoreURL, version: str) -> None:
        current = self.current_schema(url)
        known = [revision for revision in REVISIONS if revision <= current]
        if version not in known:
            raise InvalidInput("version", f"no such schema to go back to; known: {', '.join(known)}")
        from fusion_store_sql import _migrations

        with _locate(url).migrating() as connection:
            _migrations.downgrade(connection, version)


def _locate(url: StoreURL) -> Location:
    return _LOCATIONS[url.scheme](url)


def _stored_revision(location: Location) -> str:
    """What the database is stamped with; ``_EMPTY`` where there is none, nothing in it, or an unfinished schema."""
    tables = location.tables()
    if not tables - {LOCK_TABLE}:
        return _EMPTY
    if _STAMP_TABLE not in tables:
        raise ConfigError(f"the {location.name} database holds something else than a vault")
    is_unfinished = LOCK_TABLE in tables and location.is_unfinished()
    revisions = location.revisions()
    if not revisions or (is_unfinished and HEAD not in revisions):
        unfinished = {_STAMP_TABLE, LOCK_TABLE} if location.atomic_ddl else {_STAMP_TABLE, LOCK_TABLE, *metadata.tables}
        return _EMPTY if tables <= unfinished else _damaged(location)
    return revisions.pop() if len(revisions) == 1 else _damaged(location)


def _damaged(location: Location) -> str:
    raise CorruptStore(f"the {location.name} database names no single schema revision")


def _check_revision(revision: str) -> None:
    if revision == HEAD:
        return
    if revision in REVISIONS:
        raise SchemaOutOfDate(
            f"the vault's schema is {revision}, this release needs {HEAD}: run fusion-store schema upgrade"
        )
    raise SchemaTooNew(f"the vault's schema comes from a newer release, this one knows {HEAD}: upgrade fusion-store")


def _upgrade(location: Location) -> None:
    from fusion_store_sql import _migrations

    with location.migrating() as connection:
        _migrations.upgrade(connection)


backend: Final = _SQLBackend()
