"""Checks of the same store at the same time."""

from __future__ import annotations

import threading

from fusion_store.backend._probe import Probe


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
