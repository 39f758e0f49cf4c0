"""The scheme ``leveldb``: ``leveldb:///relative`` or ``leveldb:////absolute``, the path of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fusion_store import InvalidInput, SchemaTooNew
from fusion_store.backend import Backend, OpenOptions, StoreURL
from fusion_store_leveldb._folder import SCHEMA_VERSION, SCHEMAS, read_schema
from fusion_store_leveldb._moving import move_schema
from fusion_store_leveldb._repository import LOCK_TIMEOUT, LevelDBTokenRepository

_PARAMETERS: Final = ("lock_timeout",)


class _LevelDBBackend(Backend):
    newest_schema = SCHEMA_VERSION

    def open(self, url: StoreURL, options: OpenOptions) -> LevelDBTokenRepository:
        url.allow_parameters(_PARAMETERS)
        return LevelDBTokenRepository(
            url.file_path(),
            create=options.create,
            lock_timeout=_lock_timeout(url),
            clock=options.clock,
            token_prefix=options.token_prefix,
        )

    def files(self, url: StoreURL) -> list[Path]:
        url.allow_parameters(_PARAMETERS)
        folder = Path(url.file_path())
        return [folder, *sorted(folder.iterdir())] if folder.is_dir() else []

    def current_schema(self, url: StoreURL) -> str:
        url.allow_parameters(_PARAMETERS)
        return read_schema(url.file_path())

    def upgrade_schema(self, url: StoreURL) -> None:
        current = self.current_schema(url)
        if current > SCHEMA_VERSION:
            raise SchemaTooNew("the store's schema comes from a newer release: upgrade fusion-store")
        if current != SCHEMA_VERSION:
            move_schema(url.file_path(), SCHEMA_VERSION, lock_timeout=_lock_timeout(url))

    def downgrade_schema(self, url: StoreURL, version: str) -> None:
        known = [schema for schema in SCHEMAS if schema <= self.current_schema(url)]
        if version not in known:
            raise InvalidInput("version", f"no such schema to go back to; known: {', '.join(known)}")
        move_schema(url.file_path(), version, lock_timeout=_lock_timeout(url))


def _lock_timeout(url: StoreURL) -> float:
    return url.seconds("lock_timeout", LOCK_TIMEOUT)


backend: Final = _LevelDBBackend()
