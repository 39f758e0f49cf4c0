"""Asking a store that may never answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from typing import Generic, TypeVar

from fusion_store._errors import Unavailable

T = TypeVar("T")


class Probe(Generic[T]):
    """Runs a call in a thread, and waits for its answer no longer than told: ``Unavailable`` then.

    The call runs on to its end. Until then no other is begun, so that hung ones don't pile up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def run(self, call: Callable[[], T], seconds: float) -> T:
        """What ``call`` answers or raises."""
        answer: Future[T] = Future()
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise Unavailable("an earlier check is still without an answer")
            self._thread = threading.Thread(
                target=_settle, args=(answer, call), name="fusion-store-health", daemon=True
            )
            self._thread.start()
        try:
            return answer.result(min(seconds, threading.TIMEOUT_MAX))
        except NoAnswer:
            raise Unavailable(f"no answer within {seconds:g} s") from None


def _settle(answer: Future[T], call: Callable[[], T]) -> None:
    try:
        answer.set_result(call())
    except BaseException as error:
        answer.set_exception(error)
