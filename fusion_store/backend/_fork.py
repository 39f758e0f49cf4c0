"""A fork waits for the threads that the vault runs by itself.

A forked child gets every lock as it stood, also those inside the storage's own library: one that a thread held at that
moment stays locked for good (SQLite's allocator has such a lock). Hosts know when their own threads use the vault, but
not when its threads do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SECONDS: Final = 2.0


class _Gate:
    """Held together by any number of threads in the background, and alone by whoever forks."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._idle = threading.Condition(threading.Lock())
        self._inside = 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        idle = self._idle
        with idle:
            self._inside += 1
        try:
            yield
        finally:
            if idle is self._idle:  # not in a child that was forked in here
                with idle:
                    self._inside -= 1
                    idle.notify_all()

    def close(self) -> None:
        """Let nobody in, and wait for those inside; not for long, as one may hang in the network."""
        self._idle.acquire()
        self._idle.wait_for(lambda: not self._inside, _SECONDS)

    def open(self) -> None:
        self._idle.release()


_gate: Final = _Gate()
background_work: Final = _gate.hold
"""``with background_work():`` around every use of a storage by a thread in the background."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_gate.close, after_in_parent=_gate.open, after_in_child=_gate.reset)
