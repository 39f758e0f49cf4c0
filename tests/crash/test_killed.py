"""Processes that write are killed at random, again and again; the store agrees with the ledger each time."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.crash.ledger import Ledger
from tests.crash.stores import KEYS, Store
from tests.crash.surroundings import EVERYWHERE, POINTS, chance
from tests.crash.trials import Worker

ROUNDS = 100 if EVERYWHERE else 4 * POINTS
THREADS = list("abcdefgh")
PROCESSES = {"sqlite": [THREADS[:4], THREADS[4:]], "leveldb": [THREADS]}


@pytest.fixture
def store(kind: str, place: Path) -> Store:
    return Store(kind, place)


def test_nothing_acknowledged_is_lost_and_nothing_deleted_comes_back(store: Store, worker: Worker) -> None:
    ledger, choose = Ledger(), chance("kill", store.kind)
    keys = [KEYS[0].reveal()] * store.is_sealed
    store.open(create=True).close()
    for _ in range(ROUNDS):
        before = ledger.acknowledged
        with worker.load(store.url, keys, ledger, PROCESSES[store.backend]) as pids:
            while ledger.acknowledged == before:
                time.sleep(0.001)
            time.sleep(choose.uniform(0, 0.5))
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        with store.reopen() as vault:
            ledger.settle(vault)
    assert ledger.errors == set()
    assert ledger.living() > 8
