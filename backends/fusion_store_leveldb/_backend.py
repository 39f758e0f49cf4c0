"""The scheme ``leveldb``: ``leveldb:///relative`` or ``leveldb:////absolute``, the path of a folder."""

from __future__ import annotations

from typing import Final

from fusion_store.backend import Backend, OpenOptions, StoreURL
from fusion_store_leveldb._folder import SCHEMA_VERSION, read_schema
from fusion_store_leveldb._repository import LOCK_TIMEOUT, LevelDBTokenRepository

_PARAMETERS: Final = ("lock_timeout",)


class _LevelDBBackend(Backend):
    newest_schema = SCHEMA_VERSION

    def open(self, url: StoreURL, options: OpenOptions) -> LevelDBTokenRepository:
        url.allow_parameters(_PARAMETERS)
        return LevelDBTokenRepository(
            url.file_path(),
            create=options.create,
            lock_timeout=url.seconds("lock_timeout", LOCK_TIMEOUT),
            clock=options.clock,
            token_prefix=options.token_prefix,
        )

    def current_schema(self, url: StoreURL) -> str:
        url.allow_parameters(_PARAMETERS)
        return read_schema(url.file_path())


backend: Final = _LevelDBBackend()
