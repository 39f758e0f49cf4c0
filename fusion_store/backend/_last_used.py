"""Collects when tokens were last used, so that a validation costs no write."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from fusion_store._errors import FusionStoreError, StoreClosed

FLUSH_SECONDS: Final = 30.0
FLUSH_COUNT: Final = 10_000

_log: Final = logging.getLogger("fusion_store")


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
        self._in_write: dict[str, int] = {}

    def note(self, hash: str, used_at: int) -> int | None:
        """Record a use; answer the newest one that waits to be written, None when none does."""
        with self._lock:
            waiting = self._pending.get(hash)
            if waiting is None:
                self._pending[hash] = used_at
                if len(self._pending) == self._count:
                    self._wake.set()
            elif waiting < used_at:
                self._pending[hash] = used_at
            if self._thread is None and not self._stopped:
                self._start()
            return self._in_write.get(hash) if waiting is None else waiting

    def pending(self, hash: str) -> int | None:
        """The newest use that waits to be written; None when none does."""
        with self._lock:
            return self._pending.get(hash, self._in_write.get(hash))

    def flush(self) -> None:
        """Write what waits; when that fails it goes on waiting, and the error is raised."""
        with self._flushing:
            with self._lock:
                batch, self._pending = self._pending, {}
                self._in_write = batch
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
            taken, self._pending = self._pending, {}
        return taken

    def stop(self) -> None:
        """End the thread, once its flush is over; what waits stays, for ``take``."""
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _start(self) -> None:
        self._thread = threading.Thread(
            target=_flush_until_stopped,
            args=(weakref.ref(self), self._wake, self._seconds),
            name="fusion-store-last-used",
            daemon=True,
        )
        self._thread.start()

    def _flush_in_background(self) -> bool:
        if self._stopped:
            return False
        try:
            with self._guard:
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
