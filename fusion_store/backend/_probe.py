"""Asking a store that may never answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from typing import Final, Generic, TypeVar

from fusion_store._errors import Unavailable
from fusion_store.backend._fork import background_work

_UNANSWERED: Final = "an earlier check is still without an answer"

T = TypeVar("T")


class Probe(Generic[T]):
    """Runs a call in a thread, and waits for its answer no longer than told: ``Unavailable`` then.

    The call runs on to its end. Until then no other is begun, so that hung ones don't pile up: who asks meanwhile waits
    for its answer, or is refused at once when it has taken longer than told already.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._answer: Future[T] = Future()
        self._overdue: Future[T] | None = None

    def run(self, call: Callable[[], T], seconds: float) -> T:
        """What ``call`` answers or raises."""
        with self._lock:
            joins = self._thread is not None and self._thread.is_alive() and not self._answer.done()
            if joins and self._overdue is self._answer:
                raise Unavailable(_UNANSWERED)
            if not joins:
                self._answer = Future()
                thread = threading.Thread(
                    target=_settle, args=(self._answer, call), name="fusion-store-health", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:
                    raise Unavailable("no thread can be started to ask the store") from None
                self._thread = thread
            answer = self._answer
        try:
            return answer.result(min(seconds, threading.TIMEOUT_MAX))
        except NoAnswer:
            if joins:
                raise Unavailable(_UNANSWERED) from None
            self._overdue = answer
            raise Unavailable(f"no answer within {seconds:g} s") from None


def _settle(answer: Future[T], call: Callable[[], T]) -> None:
    try:
        with background_work():
            answer.set_result(call())
    except BaseException as error:
        answer.set_exception(error)
