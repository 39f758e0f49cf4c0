from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import sleep

import pytest

from fusion_store import ForkedHandle, StoreClosed
from fusion_store.backend import InFlightGuard


def is_closed(guard: InFlightGuard) -> bool:
    try:
        guard.check()
    except StoreClosed:
        return True
    return False


def test_closing_waits_for_a_call_under_way_and_refuses_new_ones() -> None:
    guard, entered, leave = InFlightGuard(), Event(), Event()

    def call() -> None:
        with guard:
            entered.set()
            assert leave.wait(30)

    with ThreadPoolExecutor(2) as threads:
        under_way = threads.submit(call)
        assert entered.wait(30)
        closing = threads.submit(guard.close)
        while not is_closed(guard):
            pass
        assert not closing.done()
        with pytest.raises(StoreClosed):
            guard.__enter__()
        assert not closing.done()
        leave.set()
        assert closing.result(30) is True
        under_way.result(30)


def test_only_one_of_many_closers_is_to_close_the_storage() -> None:
    guard = InFlightGuard()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: guard.close(), range(8)))

    assert sorted(answers) == [False] * 7 + [True]


def test_a_call_that_raises_is_over() -> None:
    guard = InFlightGuard()

    with pytest.raises(KeyError), guard:
        raise KeyError

    assert guard.close() is True


def test_calls_may_run_inside_one_another() -> None:
    guard = InFlightGuard()

    with guard, guard:
        guard.check()

    assert guard.close() is True


def test_a_refused_guard_raises_what_it_was_told() -> None:
    guard = InFlightGuard()
    guard.refuse(ForkedHandle)

    with pytest.raises(ForkedHandle):
        guard.check()
    with pytest.raises(ForkedHandle):
        guard.__enter__()
    assert guard.close() is False


def test_a_reset_guard_has_no_calls_under_way() -> None:
    guard = InFlightGuard()
    guard.__enter__()

    guard.reset()

    assert guard.close() is True


def test_no_call_is_under_way_once_closing_returned() -> None:
    """Whatever place the closing meets eight threads at, which enter and leave as fast as they can."""
    for _ in range(100):
        guard, begun, closed = InFlightGuard(), Event(), list[bool]()

        def call(guard: InFlightGuard = guard, begun: Event = begun, closed: list[bool] = closed) -> bool:
            try:
                while True:
                    with guard:
                        if closed:
                            return False
                        begun.set()
                        sleep(0)
                        if closed:
                            return False
            except StoreClosed:
                return True

        with ThreadPoolExecutor(8) as threads:
            calls = [threads.submit(call) for _ in range(8)]
            assert begun.wait(30)
            assert guard.close() is True
            closed.append(True)
            assert all(done.result(30) for done in calls)


def test_a_call_that_outlives_a_reset_ends_quietly() -> None:
    guard = InFlightGuard()

    with guard:
        guard.reset()

    assert guard.close() is True
