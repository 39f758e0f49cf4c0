"""Processes that write are killed at random, again and again; the store agrees with the ledger each time."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.crash.ledger import Ledger
from tests.crash.stores import BACKENDS, KEYS, Store
from tests.crash.surroundings import EVERYWHERE, POINTS, chance, wait_for
from tests.crash.trials import Worker

ROUNDS = 100 if EVERYWHERE else 4 * POINTS
LARGE = (8 if POINTS > 1 else 1) << 20
"""Bytes on disk at which a kill finds logs of all ages."""
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
        with worker.load(store.url, keys, ledger, PROCESSES[store.backend]) as pids:
            ledger.wait_for_calls(1)
            time.sleep(choose.uniform(0, 0.5))
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        with store.open() as vault:
            ledger.settle(vault)
    assert ledger.errors == set()
    assert ledger.living() > 8


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_killed_store_is_open_again_in_two_seconds(store: Store, worker: Worker, place: Path) -> None:
    ledger = Ledger()
    store.open(create=True).close()
    with worker.load(store.url, [], ledger, PROCESSES[store.backend]) as pids:
        wait_for(lambda: sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file()) > LARGE)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    seconds = []
    for number in range(3):
        copied = store.copy_to(place.with_name(f"{place.name}-{number}"))
        began = time.perf_counter()
        vault = copied.open()
        seconds.append(time.perf_counter() - began)
        vault.close()
    sys.stdout.write(f"{store.kind}: {min(seconds):.3f} s\n")
    assert min(seconds) < 2
