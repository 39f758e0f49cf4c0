from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_store import AsyncTokenRepository, TokenRepository
from fusion_store.integrations.key_value import FusionKeyValueStore
from fusion_store.testing import ContractStore, ManualClock
from tests.integrations.peers import KEY_VALUE
from tests.test_contract import CASES, chosen_cases

collect_ignore = ["test_peer.py"] * (KEY_VALUE is None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=[*dict.fromkeys([*chosen_cases(), "sqlite+encrypted"])])
def contract_store(request: pytest.FixtureRequest, tmp_path: Path) -> ContractStore:
    """A place for a vault, on every backend at hand."""
    case: str = request.param
    return CASES[case].make(tmp_path)


@pytest.fixture
def vault(contract_store: ContractStore, clock: ManualClock) -> Iterator[TokenRepository]:
    with contract_store.open(clock) as repository:
        yield repository


@pytest.fixture(params=["sync", "async"])
def store(request: pytest.FixtureRequest, vault: TokenRepository) -> FusionKeyValueStore:
    """On a repository of either kind, each test running with both."""
    return FusionKeyValueStore(vault if request.param == "sync" else AsyncTokenRepository(vault))
