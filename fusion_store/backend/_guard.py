"""The in-flight guard: no call may be under way when the storage is closed under it."""

from __future__ import annotations

import threading

from fusion_store._errors import StoreClosed, StoreError


class InFlightGuard:
    """Counts the calls under way; once closed, refuses new ones.

    ``with guard:`` around every use of the storage. Layers share the guard of the repository they wrap.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew, as after a fork: the calls of other threads are gone."""
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._under_way = 0
        self._refusal: type[StoreError] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._refusal is not None:
                raise self._refusal()
            self._under_way += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._under_way -= 1
            if self._refusal is not None:
                self._idle.notify_all()

    def check(self) -> None:
        """Raise what a new call would raise."""
        if self._refusal is not None:
            raise self._refusal()

    def refuse(self, refusal: type[StoreError]) -> None:
        """Refuse every further call with that error."""
        self._refusal = refusal

    def close(self) -> bool:
        """Refuse new calls and wait until none is under way; True for the one caller who is to close the storage."""
        with self._idle:
            if self._refusal is not None:
                return False
            self._refusal = StoreClosed
            self._idle.wait_for(lambda: not self._under_way)
            return True
