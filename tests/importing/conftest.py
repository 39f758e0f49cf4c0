from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_store import TokenRepository, get_repository
from fusion_store.layers import Key
from tests.cli.conftest import cli, url

__all__ = ["cli", "url"]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("URL", "DATA_DIR", "KEYS", "KEY_FILE"):
        monkeypatch.delenv(f"FUSION_STORE_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(params=["plain", "sealed"])
def vault(request: pytest.FixtureRequest) -> Iterator[TokenRepository]:
    keys = [Key.generate().reveal()] if request.param == "sealed" else None
    with get_repository("memory://", encryption_keys=keys) as repository:
        yield repository
