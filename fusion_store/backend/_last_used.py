"""Collects when tokens were last used, so that a validation costs no write."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Final

from fusion_store._errors import FusionStoreError, StoreClosed
from fusion_store.backend._fork import background_work
from fusion_store.backend._limits import micros

FLUSH_SECONDS: Final = 30.0
FLUSH_COUNT: Final = 10_000

_log: Final = logging.getLogger("fusion_store")


class TokenUse:
    """The newest use of one token, counted by whoever has no time for a lock at every use.

    Set ``at`` first. Then hand this to ``LastUsedCoalescer.add``, unless ``waits`` says that it lies there already.
    """

    __slots__ = ("at", "hash", "waits")

    def __init__(self, hash: str, at: datetime) -> None:
        self.hash = hash
        self.at = at
        self.waits = False


class LastUsedCoalescer:
    """Keeps the newest time per token and hands all to ``write`` in one call: by count, by time, and on demand.

    What a failed ``write`` was given waits for the next one. ``write`` must be a bound method; it is held weakly,
    so that the daemon thread doesn't keep a forgotten repository alive. The thread enters ``guard`` around its flushes;
    whoever calls ``flush`` does so by itself.
    """

    def __init__(
        self,
        write: Callable[[Mapping[str, int]], None],
        *,
        guard: AbstractContextManager[None] | None = None,
        seconds: float = FLUSH_SECONDS,
        count: int = FLUSH_COUNT,
    ) -> None:
        self._write = weakref.WeakMethod(write)
        self._guard = nullcontext() if guard is None else guard
        self._seconds = seconds
        self._count = count
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a fork: the parent writes what it collected."""
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._pending: dict[str, int] = {}
        self._uses: dict[str, TokenUse] = {}
        self._in_write: dict[str, int] = {}

    def backlog(self) -> int:
        """How many tokens' uses wait to be written."""
        with self._lock:
            return len(self._pending.keys() | self._uses.keys() | self._in_write.keys())

    def note(self, hash: str, used_at: int) -> int | None:
        """Record a use; answer the newest one that waits to be written, None when none does."""
        with self._lock:
            waiting = self._newest(hash)
            if hash not in self._pending:
                self._pending[hash] = used_at
                self._grew()
            elif self._pending[hash] < used_at:
                self._pending[hash] = used_at
            return waiting

    def add(self, use: TokenUse) -> None:
        """Take in a use that is kept elsewhere: its ``at`` is read when it is written, and ``waits`` is unset then."""
        with self._lock:
            use.waits = True
            earlier = self._uses.get(use.hash, use)
            if earlier is not use:
                self._collect(earlier, self._pending)
            self._uses[use.hash] = use
            self._grew()

    def pending(self, hash: str) -> int | None:
        """The newest use that waits to be written; None when none does."""
        with self._lock:
            return self._newest(hash)

    def _newest(self, hash: str) -> int | None:
        newest = self._pending.get(hash)
        if newest is None:
            newest = self._in_write.get(hash)
        if hash in self._uses:
            at = micros(self._uses[hash].at, "at")
            newest = at if newest is None else max(at, newest)
        return newest

    def _grew(self) -> None:
        if len(self._pending) + len(self._uses) == self._count:
            self._wake.set()
        if self._thread is None and not self._stopped:
            self._start()

    def flush(self) -> None:
        """Write what waits; when that fails it goes on waiting, and the error is raised."""
        with self._flushing:
            with self._lock:
                batch = self._in_write = self._drain()
            try:
                write = self._write()
                if batch and write is not None:
                    write(batch)
            except BaseException:
                with self._lock:
                    for hash, used_at in batch.items():
                        self._pending[hash] = max(used_at, self._pending.get(hash, used_at))
                raise
            finally:
                with self._lock:
                    self._in_write = {}

    def take(self) -> dict[str, int]:
        """What waits to be written, handed over to the caller."""
        with self._lock:
            return self._drain()

    def _drain(self) -> dict[str, int]:
        batch, self._pending = self._pending, {}
        uses, self._uses = self._uses, {}
        for use in uses.values():
            self._collect(use, batch)
        return batch

    def _collect(self, use: TokenUse, batch: dict[str, int]) -> None:
        # Before its time is read: whoever sets that later finds that the use has to be added again.
        use.waits = False
        at = micros(use.at, "at")
        batch[use.hash] = max(at, batch.get(use.hash, at))

    def stop(self) -> None:
        """End the thread, once its flush is over; what waits stays, for ``take``."""
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _start(self) -> None:
        thread = threading.Thread(
            target=_flush_until_stopped,
            args=(weakref.ref(self), self._wake, self._seconds),
            name="fusion-store-last-used",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:
            # The system has none to give: what waits is written by the next flush, or the next use begins one.
            return
        self._thread = thread

    def _flush_in_background(self) -> bool:
        if self._stopped:
            return False
        try:
            with background_work(), self._guard:
                self.flush()
        except StoreClosed:
            return False
        except FusionStoreError as error:
            _log.warning("last-used times not written, kept for the next flush: %s", type(error).__name__)
        return True


def _flush_until_stopped(coalescer: weakref.ref[LastUsedCoalescer], wake: threading.Event, seconds: float) -> None:
    while True:
        wake.wait(seconds)
        wake.clear()
        collected = coalescer()
        if collected is None or not collected._flush_in_background():
            return
        del collected
