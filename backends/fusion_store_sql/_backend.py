"""The scheme ``sqlite``: from a URL to an open repository, and its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fusion_store import (
    AlreadyExists,
    ConfigError,
    CorruptStore,
    SchemaOutOfDate,
    SchemaTooNew,
    StoreNotFound,
)
from fusion_store.backend import Backend, OpenOptions, StoreURL
from fusion_store_sql import _sqlite as sqlite
from fusion_store_sql._database import Database
from fusion_store_sql._repository import SQLTokenRepository
from fusion_store_sql._schema import HEAD, REVISIONS

_LOCK_TIMEOUT_SECONDS: Final = 30.0
_STAMP_TABLE: Final = "alembic_version"
_EMPTY: Final = ""


class _SQLBackend(Backend):
    newest_schema = HEAD

    def open(self, url: StoreURL, options: OpenOptions) -> SQLTokenRepository:
        path, lock_timeout = _location(url)
        revision = _stored_revision(path)
        if revision == _EMPTY:
            _create(path, lock_timeout, options)
        else:
            _check_revision(revision)
        return SQLTokenRepository(
            Database(sqlite.sqlite_engine(path, lock_timeout)),
            path,
            clock=options.clock,
            token_prefix=options.token_prefix,
        )

    def current_schema(self, url: StoreURL) -> str:
        path, _ = _location(url)
        revision = _stored_revision(path)
        if revision == _EMPTY:
            raise StoreNotFound("there is no vault at that path")
        return revision

    def upgrade_schema(self, url: StoreURL) -> None:
        if self.current_schema(url) not in REVISIONS:
            raise SchemaTooNew("the vault's schema comes from a newer release: upgrade fusion-store")
        _upgrade(*_location(url))

    def downgrade_schema(self, url: StoreURL, version: str) -> None:
        current = self.current_schema(url)
        known = [revision for revision in REVISIONS if revision <= current]
        if version not in known:
            raise ConfigError(f"no schema {version!r} to go back to; known: {', '.join(known)}")
        from fusion_store_sql import _migrations

        path, lock_timeout = _location(url)
        database = Database(sqlite.sqlite_engine(path, lock_timeout))
        try:
            with database.write() as connection:
                _migrations.downgrade(connection, version)
        finally:
            database.close()


def _location(url: StoreURL) -> tuple[Path, float]:
    url.allow_parameters(("lock_timeout",))
    if url.path in ("", "/", "/:memory:"):
        raise ConfigError("the sqlite URL names no file; for a vault in memory use memory://")
    return Path(url.file_path()).absolute(), url.seconds("lock_timeout", _LOCK_TIMEOUT_SECONDS)


def _stored_revision(path: Path) -> str:
    """What the file is stamped with; ``_EMPTY`` when there is no file, or nothing in it."""
    tables = sqlite.stored_tables(path)
    if not tables:
        return _EMPTY
    if _STAMP_TABLE not in tables:
        raise ConfigError("the SQLite database holds something else than a vault")
    revisions = sqlite.stored_revisions(path)
    if not revisions:
        return _EMPTY if tables == {_STAMP_TABLE} else _damaged()
    return revisions.pop() if len(revisions) == 1 else _damaged()


def _damaged() -> str:
    raise CorruptStore("the SQLite database names no single schema revision")


def _check_revision(revision: str) -> None:
    if revision == HEAD:
        return
    if revision in REVISIONS:
        raise SchemaOutOfDate(
            f"the vault's schema is {revision}, this release needs {HEAD}: run fusion-store schema upgrade"
        )
    raise SchemaTooNew(f"the vault's schema comes from a newer release, this one knows {HEAD}: upgrade fusion-store")


def _create(path: Path, lock_timeout: float, options: OpenOptions) -> None:
    if not options.create:
        raise StoreNotFound("there is no vault at that path")
    try:
        sqlite.create_file(path)
    except AlreadyExists:
        if not path.is_file():
            raise ConfigError("the sqlite URL's path is a link that leads nowhere") from None
        path.chmod(0o600)
    _upgrade(path, lock_timeout)


def _upgrade(path: Path, lock_timeout: float) -> None:
    from fusion_store_sql import _migrations

    database = Database(sqlite.sqlite_engine(path, lock_timeout))
    try:
        with database.write() as connection:
            _migrations.upgrade(connection)
    finally:
        database.close()


backend: Final = _SQLBackend()
