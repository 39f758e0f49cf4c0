"""A real file system without room: what is told, what is kept, and that writing goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_store import OAuthTokenData, OutcomeUnknown, StorageFull, TokenRepository
from tests.crash.ledger import Ledger
from tests.crash.stores import KEYS, Store
from tests.crash.surroundings import mount, unmount, wait_for
from tests.crash.trials import Worker

THREADS = list("abcd")
LARGE = OAuthTokenData("x" * 60_000)


@pytest.fixture
def store(kind: str, place: Path) -> Iterator[Store]:
    """An empty place on a file system of 12 MiB."""
    folder = place / "disk"
    folder.mkdir()
    assert mount(folder, "12m")
    try:
        (folder / "store").mkdir()
        yield Store(kind, folder / "store")
    finally:
        unmount(folder)


def fill_up(store: Store, *, leave: int = 0) -> Path:
    """Take all room but so many bytes of it; gone with the file that is answered."""
    ballast = store.folder.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
        file.truncate(max(file.tell() - leave, 0))
    return ballast


def test_writers_meet_the_end_of_the_room_and_go_on_when_there_is_some(store: Store, worker: Worker) -> None:
    ledger = Ledger()
    store.open(create=True).close()
    keys = [KEYS[0].reveal()] * store.is_sealed
    with worker.load(store.url, keys, ledger, [THREADS]):
        ledger.wait_for_calls(20)
        ballast = fill_up(store, leave=64 * 1024)
        wait_for(lambda: "StorageFull" in ledger.errors)
        ballast.unlink()
        ledger.wait_for_calls(20)
    assert ledger.errors <= {"StorageFull", "OutcomeUnknown"}
    with store.open() as vault:
        ledger.settle(vault)
    assert ledger.living() > 4


def test_a_call_that_finds_no_room_has_changed_nothing_and_can_be_repeated(store: Store) -> None:
    with store.open(create=True) as vault:
        tenant = vault.add_api_token().hash
        ballast = fill_up(store)
        service = refused_service(vault, tenant)
        ballast.unlink()
        assert vault.get_oauth_token(tenant, service) is None
        vault.store_oauth_token(tenant, service, LARGE)
        assert vault.check().ok


def refused_service(vault: TokenRepository, tenant: str) -> str:
    """Store until there is no room; answers what wasn't stored."""
    for number in range(200):
        try:
            vault.store_oauth_token(tenant, f"{number}", LARGE)
        except OutcomeUnknown:
            continue
        except StorageFull:
            return f"{number}"
    raise AssertionError("there was room for all")


def test_no_store_is_made_where_there_is_no_room_and_one_is_where_there_is_again(store: Store) -> None:
    ballast = fill_up(store)
    with pytest.raises(StorageFull):
        store.open(create=True)
    ballast.unlink()
    with store.open(create=True) as vault:
        vault.add_api_token()
        assert vault.check().ok
