"""The scheme ``memory``: ``memory://`` is private, ``memory://NAME`` is shared in the process."""

from __future__ import annotations

import threading
from typing import Final

from fusion_store import ConfigError, StoreNotFound
from fusion_store.backend import Backend, OpenOptions, StoreURL
from fusion_store_memory._repository import SCHEMA_VERSION, MemoryTokenRepository
from fusion_store_memory._state import State

_named: Final[dict[str, State]] = {}
_naming: Final = threading.Lock()


class _MemoryBackend(Backend):
    newest_schema = SCHEMA_VERSION

    def open(self, url: StoreURL, options: OpenOptions) -> MemoryTokenRepository:
        return MemoryTokenRepository(
            _state(url, create=options.create),
            clock=options.clock,
            token_prefix=options.token_prefix,
        )

    def current_schema(self, url: StoreURL) -> str:
        _state(url, create=False)
        return SCHEMA_VERSION


def _state(url: StoreURL, *, create: bool) -> State:
    url.allow_parameters(())
    if url.path or url.username or url.port:
        raise ConfigError("a memory URL is memory:// or memory://NAME")
    with _naming:
        name = url.text.removeprefix("memory://")
        if name in _named:
            return _named[name]
        if not create:
            raise StoreNotFound("there is no store of that name in this process")
        state = State()
        if name:
            _named[name] = state
        return state


backend: Final = _MemoryBackend()
