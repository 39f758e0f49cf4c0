"""The fixtures of the contract, all built on ``contract_store``, which the backend's author supplies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fusion_store import StoreLocked, TokenRepository
from fusion_store.backend import RecordRepository
from fusion_store.testing import ContractStore, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """The clock of every store that a test opens."""
    return ManualClock()


@pytest.fixture
def open_store(contract_store: ContractStore, clock: ManualClock) -> Iterator[Callable[[], TokenRepository]]:
    """Opens the store, by one more handle each time it is called; all are closed in the end."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(contract_store.open(clock))


@pytest.fixture
def repository(open_store: Callable[[], TokenRepository]) -> TokenRepository:
    """An initialised, empty store."""
    return open_store()


@pytest.fixture
def reopen(repository: TokenRepository, open_store: Callable[[], TokenRepository]) -> Callable[[], TokenRepository]:
    """Closes the store and opens the same data again, with the same clock."""
    current = [repository]

    def close_and_open() -> TokenRepository:
        current[0].close()
        current[0] = open_store()
        return current[0]

    return close_and_open


@pytest.fixture
def handles(repository: TokenRepository, open_store: Callable[[], TokenRepository]) -> list[TokenRepository]:
    """The store by two handles; by one where the backend locks a second one out."""
    try:
        return [repository, open_store()]
    except StoreLocked:
        return [repository]


@pytest.fixture
def audited(contract_store: ContractStore, clock: ManualClock) -> Iterator[TokenRepository]:
    """An initialised, empty store that records its changes."""
    with contract_store.open(clock, audit=True) as opened:
        yield opened


@pytest.fixture
def reference(contract_store: ContractStore, clock: ManualClock) -> Iterator[TokenRepository]:
    """Another empty store, of the reference model."""
    with contract_store.open_in_memory(clock) as opened:
        yield opened


@pytest.fixture
def storage(contract_store: ContractStore, clock: ManualClock) -> Iterator[RecordRepository]:
    """An initialised, empty store, its storage operations at hand."""
    with contract_store.open_storage(clock) as opened:
        yield opened
