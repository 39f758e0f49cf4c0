from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fusion_store import TokenRepository
from fusion_store.layers import Cipher
from tests.encryption.raw import Raw, RawLevelDB, RawMemory, RawSQLite
from tests.encryption.vaults import BACKENDS, CIPHERS, Vault, place_vault


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "DATA_DIR", "KEYS", "KEY_FILE", "CIPHER"):
        monkeypatch.delenv(f"FUSION_STORE_{name}", raising=False)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=CIPHERS)
def cipher(request: pytest.FixtureRequest) -> Cipher:
    return Cipher(request.param)


@pytest.fixture
def vault(backend: str, cipher: Cipher, tmp_path: Path) -> Iterator[Vault]:
    with ExitStack() as opened:
        yield place_vault(backend, tmp_path / "store", cipher, opened)


@pytest.fixture
def raw(vault: Vault) -> Iterator[Callable[[TokenRepository], Raw]]:
    """The database under an open repository."""
    opened: list[RawSQLite] = []

    def opens(repository: TokenRepository) -> Raw:
        if vault.backend == "memory":
            return RawMemory(repository)
        if vault.backend == "leveldb":
            return RawLevelDB(repository)
        opened.append(RawSQLite(vault))
        return opened[-1]

    yield opens
    for each in opened:
        each.connection.close()
