"""Inputs made up at random, each of them read at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy

from tests.model.surroundings import ANEW, EXAMPLES, SEED

LIMIT_SECONDS: Final = 0.05
"""What one call on one input may take."""
_ENDLESS_SECONDS: Final = 10.0
"""A call that took so much of the processor is broken off."""
_TRIES: Final = 5
"""The collector or the cold caches of a busy machine may cost more now and then; an input that takes long does so
every time."""

MADE_UP: Final = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not ANEW,
    suppress_health_check=list(HealthCheck),
)

T = TypeVar("T")


class Stopwatch:
    """The processor's time that calls take: what else the machine does isn't in it."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Of the calls on the input at hand."""
        self.record = 0.0
        """Of the calls on any input, each at its best try."""

    def __call__(self, call: Callable[[], T]) -> T:
        """Do it, and note how long it took."""
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, _ENDLESS_SECONDS)
        try:
            return call()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.longest = max(self.longest, time.process_time() - began)

    def forget(self) -> None:
        """Leave out the calls on the input at hand."""
        self.longest = 0.0

    def settle(self) -> bool:
        """Whether all calls on an input were within the limit; begins anew."""
        longest = self.longest
        self.forget()
        if longest < LIMIT_SECONDS:
            self.record = max(self.record, longest)
        return longest < LIMIT_SECONDS


def fuzzed(**inputs: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test on made-up inputs; what it calls through ``timed`` ends in time for each of them."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def tried(*, timed: Stopwatch, **arguments: Any) -> None:
            for _ in range(_TRIES):
                test(timed=timed, **arguments)
                if timed.settle():
                    return
            pytest.fail(f"a call on this input took more than {LIMIT_SECONDS * 1000:.0f} ms of the processor")

        made_up = MADE_UP(given(**inputs)(tried))
        return seed(SEED)(made_up) if ANEW else made_up

    return decorate
