"""Servers that are killed, stopped and started again while processes write."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fusion_store import get_repository
from tests.chaos.instances import Instance
from tests.crash.ledger import Ledger
from tests.crash.surroundings import EVERYWHERE, POINTS, chance, wait_for
from tests.crash.trials import Worker

ROUNDS = 30 if EVERYWHERE else POINTS
THREADS = list("abcdefgh")
PROCESSES = [THREADS[:4], THREADS[4:]]


@pytest.mark.parametrize("end", [Instance.kill, Instance.stop], ids=["killed", "stopped"])
def test_what_was_acknowledged_is_there_after_a_restart(
    instance: Instance, url: str, worker: Worker, end: Callable[[Instance], None]
) -> None:
    ledger, choose = Ledger(), chance(instance.name)
    for _ in range(ROUNDS):
        with worker.load(url, [], ledger, PROCESSES):
            ledger.wait_for_calls(100)
            time.sleep(choose.uniform(0, 0.2))
            end(instance)
            instance.start()
            ledger.wait_for_calls(50)
        with get_repository(url) as vault:
            ledger.settle(vault)
    assert ledger.errors <= {"Unavailable", "OutcomeUnknown"}
    assert ledger.errors
    assert ledger.living() > 8


def test_threads_beyond_the_pool_wait_or_are_told_that_it_is_busy(instance: Instance, url: str, worker: Worker) -> None:
    ledger = Ledger()
    with worker.load(f"{url}?pool_size=1&pool_timeout=0.02", [], ledger, PROCESSES):
        wait_for(lambda: bool(ledger.errors))
        ledger.wait_for_calls(200)
    assert ledger.errors == {"Busy"}
    with get_repository(url) as vault:
        ledger.settle(vault)
