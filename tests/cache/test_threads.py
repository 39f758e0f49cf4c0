"""Many threads at once: nothing is answered after the end, and no use is lost or set back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from fusion_store import StoreClosed, TokenRepository, get_repository
from fusion_store.backend import APITokenRecord
from fusion_store.layers import CachedTokenRepository, CacheOptions
from fusion_store.testing import ManualClock
from fusion_store_memory import MemoryTokenRepository

SECOND = timedelta(seconds=1)


class HoldingClock(ManualClock):
    """Holds up whoever asks for the time, once ``hold`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = False
        self.asked, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> datetime:
        if self.hold:
            self.hold = False
            self.asked.set()
            assert self.go_on.wait(60)
        return super().__call__()


def closes(repository: TokenRepository) -> bool:
    try:
        repository.schema_version()
    except StoreClosed:
        return True
    return False


@pytest.mark.parametrize("below", [False, True], ids=["the cache", "what is below"])
def test_closing_waits_for_an_answer_from_memory_and_writes_its_use(*, below: bool) -> None:
    clock = HoldingClock()
    url = f"memory://{uuid4().hex}"
    vault = get_repository(url, cache=True, clock=clock)
    assert isinstance(vault, CachedTokenRepository)
    issued = vault.add_api_token()
    vault.validate_api_token(issued.token)
    vault.flush()
    with ThreadPoolExecutor(2) as threads:
        clock.hold = True
        answering = threads.submit(vault.recall_api_token, issued.token)
        assert clock.asked.wait(60)
        closing = threads.submit(vault.inner.close if below else vault.close)
        while not closes(vault):
            pass
        with pytest.raises(TimeoutError):
            closing.result(0.5)
        clock.advance(SECOND)
        clock.go_on.set()
        assert answering.result(60) is not None
        closing.result(60)

    with get_repository(url) as again:
        known = again.get_api_token(issued.hash)
        assert known is not None
        assert known.last_used == clock.now
    vault.close()


def test_no_use_is_lost_when_it_meets_a_flush() -> None:
    clock = ManualClock()
    storage = MemoryTokenRepository(clock=clock)
    with CachedTokenRepository(storage) as vault, ThreadPoolExecutor(3) as threads:
        issued = vault.add_api_token()
        vault.validate_api_token(issued.token)
        for _ in range(300):
            used = clock.advance(SECOND)
            meet = threading.Barrier(3)

            def at_once(work: Callable[[], object], meet: threading.Barrier = meet) -> None:
                meet.wait(60)
                work()

            def use() -> None:
                for _ in range(20):
                    assert vault.recall_api_token(issued.token)

            for done in [threads.submit(at_once, work) for work in (use, use, vault.flush)]:
                done.result(60)
            vault.flush()

            record = storage.read_api_token(issued.hash)
            assert isinstance(record, APITokenRecord)
            known = vault.get_api_token(issued.hash)
            assert known is not None
            assert known.last_used == used


def test_uses_by_many_threads_only_move_forward() -> None:
    with get_repository("memory://", cache=True) as vault:
        issued = vault.add_api_token()

        def use() -> bool:
            uses = []
            for _ in range(3000):
                known = vault.validate_api_token(issued.token)
                assert known is not None
                uses.append(known.last_used or known.created_at)
            return uses == sorted(uses)

        with ThreadPoolExecutor(8) as threads:
            assert all(done.result(60) for done in [threads.submit(use) for _ in range(8)])


def test_many_threads_keep_within_the_size_and_remember_what_they_use() -> None:
    with get_repository("memory://", cache=CacheOptions(size=16)) as vault:
        assert isinstance(vault, CachedTokenRepository)
        issued = [vault.add_api_token() for _ in range(64)]

        def use(number: int) -> None:
            for step in range(400):
                known = vault.validate_api_token(issued[(step * (number + 1)) % 64].token)
                assert known is not None
                assert known.hash == issued[(step * (number + 1)) % 64].hash

        with ThreadPoolExecutor(8) as threads:
            for done in [threads.submit(use, number) for number in range(8)]:
                done.result(60)

        assert sum(vault.recall_api_token(token.token) is not None for token in issued) == 16
