"""``health`` has a time limit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from fusion_store import AsyncTokenRepository, Health, InvalidInput, get_repository

_SHORT = timedelta(milliseconds=50)


def test_a_store_that_does_not_answer_in_time_is_not_healthy(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    with (
        get_repository(f"sqlite:///{path}?lock_timeout=60") as repository,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        assert repository.health(timeout=timedelta(seconds=30)).ok
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        found = repository.health(timeout=_SHORT)
        waited = time.monotonic() - began
        again = repository.health(timeout=timedelta(seconds=30))
        probes = sum(thread.name == "fusion-store-health" for thread in threading.enumerate())
        other.execute("ROLLBACK")

        assert not found.ok
        assert found.error == "Unavailable: no answer within 0.05 s"
        assert waited < 30
        assert again.error == "Unavailable: an earlier check is still without an answer"
        assert probes == 1
        _eventually(lambda: repository.health(timeout=timedelta(seconds=30)).ok)


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_closing_waits_for_a_check_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    repository = get_repository(f"sqlite:///{path}?lock_timeout=60")
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not repository.health(timeout=_SHORT).ok
        closing_thread = threading.Thread(target=repository.close)
        closing_thread.start()
        closing_thread.join(0.2)
        assert closing_thread.is_alive()
        other.execute("ROLLBACK")
        closing_thread.join(60)
        assert not closing_thread.is_alive()


def test_a_check_does_not_wait_for_calls_that_hang(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"

    async def ask(other: sqlite3.Connection) -> Health:
        async with AsyncTokenRepository(get_repository(f"sqlite:///{path}?lock_timeout=60"), threads=2) as vault:
            assert (await vault.health(timeout=timedelta(seconds=30))).ok
            other.execute("BEGIN IMMEDIATE")
            hanging = [asyncio.create_task(vault.add_api_token()) for _ in range(2)]
            await asyncio.sleep(0)
            try:
                return await asyncio.wait_for(vault.health(timeout=_SHORT), 30)
            finally:
                other.execute("ROLLBACK")
                await asyncio.gather(*hanging)

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        found = asyncio.run(ask(other))
    assert found.error == "Unavailable: no answer within 0.05 s"


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(seconds=-1), 5])
def test_a_time_limit_is_a_positive_timedelta(timeout: timedelta) -> None:
    with get_repository("memory://") as repository, pytest.raises(InvalidInput) as refused:
        repository.health(timeout=timeout)
    assert refused.value.field == "timeout"


def test_the_longest_time_limit_is_no_overflow() -> None:
    with get_repository("memory://") as repository:
        assert repository.health(timeout=timedelta(days=365 * 5000)).ok
