"""Checks of the same store at the same time."""

from __future__ import annotations

import threading

from fusion_store.backend import AuditEntry
from fusion_store.backend._probe import Probe
from fusion_store_memory._repository import MemoryTokenRepository
from fusion_store_memory._state import State


class Shared(MemoryTokenRepository):
    """Its store is shared with other checks, which are killed before they delete what they wrote, or get in between."""

    killed = False
    interruptions = 0

    def write_mark(self, name: str, value: bytes | None, *, audit: AuditEntry | None = None) -> None:
        if value is not None or not self.killed:
            super().write_mark(name, value, audit=audit)
        if value is not None and self.interruptions:
            self.interruptions -= 1
            super().write_mark(name, b"of another check", audit=audit)


def test_checks_that_are_killed_leave_a_bounded_number_of_marks_behind() -> None:
    state = State()
    with Shared(state) as repository:
        repository.killed = True
        for _ in range(1000):
            assert repository.health().ok
        assert 0 < len(state.marks) <= 256


def test_a_check_that_another_one_gets_in_between_is_repeated() -> None:
    with Shared(State()) as repository:
        repository.interruptions = 2
        assert repository.health().ok


def test_who_asks_during_a_check_gets_its_answer() -> None:
    probe = Probe[int]()
    begun, go_on = threading.Event(), threading.Event()
    answers: list[int] = []

    def call() -> int:
        begun.set()
        go_on.wait(60)
        return 1

    first = threading.Thread(target=lambda: answers.append(probe.run(call, 60)))
    second = threading.Thread(target=lambda: answers.append(probe.run(call, 60)))
    first.start()
    assert begun.wait(60)
    second.start()
    second.join(0.1)
    assert second.is_alive()
    go_on.set()
    first.join(60)
    second.join(60)
    assert answers == [1, 1]
