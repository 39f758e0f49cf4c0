"""The in-flight guard: no call may be under way when the storage is closed under it."""

from __future__ import annotations

import threading

from fusion_store._errors import StoreClosed, StoreError


class InFlightGuard:
    """Counts the calls under way; once closed, refuses new ones.

    ``with guard:`` around every use of the storage. Layers share the guard of the repository they wrap.

    A call takes no lock. It stands in ``under_way`` first and looks at ``refusal`` then; whoever closes refuses first
    and looks for calls then: so one of them sees the other. Lists are appended to and popped from in one step.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew, as after a fork: the calls of other threads are gone."""
        self._idle = threading.Condition()
        self.under_way: list[None] = []
        self.refusal: type[StoreError] | None = None

    def __enter__(self) -> None:
        if self.refusal is None:
            self.under_way.append(None)
            if self.refusal is None:
                return
            self.__exit__()
        self.check()

    def __exit__(self, *_: object) -> None:
        try:
            self.under_way.pop()
        except IndexError:
            return  # in a child that was forked amid this call
        if self.refusal is not None:
            self.wake()

    def check(self) -> None:
        """Raise what a new call would raise."""
        if self.refusal is not None:
            raise self.refusal()

    def refuse(self, refusal: type[StoreError]) -> None:
        """Refuse every further call with that error."""
        self.refusal = refusal

    def wake(self) -> None:
        """Tell whoever closes that a call has left ``under_way``."""
        with self._idle:
            self._idle.notify_all()

    def close(self) -> bool:
        """Refuse new calls and wait until none is under way; True for the one caller who is to close the storage."""
        with self._idle:
            if self.refusal is not None:
                return False
            self.refusal = StoreClosed
            self._idle.wait_for(lambda: not self.under_way)
            return True
