from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_store import IssuedToken, TokenRepository, get_repository
from tests.integrations.peers import MCP_SDK
from tests.servers.databases import server_url

collect_ignore = [
    *["test_postgresql.py"] * (server_url("postgresql") is None),
    *["test_sdk.py"] * (MCP_SDK is None),
]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[TokenRepository]:
    with get_repository(f"sqlite:///{tmp_path}/vault.db") as repository:
        yield repository


@pytest.fixture
def ada(vault: TokenRepository) -> IssuedToken:
    return vault.add_api_token("Ada", scopes=("read",))
