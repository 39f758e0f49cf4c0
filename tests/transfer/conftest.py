from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from fusion_store.backend import RecordRepository
from tests.servers.databases import VARIABLES, emptied_database, server_url
from tests.transfer.vaults import storage

BACKENDS = ("memory", "sqlite", "leveldb") if find_spec("plyvel") else ("memory", "sqlite")
SERVERS = tuple(server for server in VARIABLES if server_url(server))


class Places:
    """Gives URLs of new places, and the stores there, which are closed when the test ends."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self._folder = folder
        self._opened = opened
        self._number = 0

    def url(self, backend: str) -> str:
        """Where nothing is yet; of a server there is one such place at a time."""
        self._number += 1
        if backend in SERVERS:
            return emptied_database(backend)
        if backend == "memory":
            return f"memory://{self._folder.name}-{self._number}"
        return f"{backend}:///{self._folder}/{self._number}"

    def store(self, backend: str) -> RecordRepository:
        """A new store there."""
        return self._opened.enter_context(storage(self.url(backend)))


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    with ExitStack() as opened:
        yield Places(tmp_path, opened)


@pytest.fixture(params=BACKENDS)
def source(request: pytest.FixtureRequest, places: Places) -> RecordRepository:
    """An empty store of each backend."""
    return places.store(request.param)


@pytest.fixture(params=[*BACKENDS, *SERVERS])
def destination(request: pytest.FixtureRequest, places: Places) -> RecordRepository:
    """An empty store of each backend, servers included."""
    return places.store(request.param)
