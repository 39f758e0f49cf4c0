"""Watches a store's change signal, for a layer that answers from memory."""

from __future__ import annotations

import logging
import math
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from fusion_store._errors import ForkedHandle, FusionStoreError, StoreClosed
from fusion_store.backend import RecordRepository, background_work

_LOOKS_PER_BOUND: Final = 4
_SECONDS_TO_STOP: Final = 2.0

_log: Final = logging.getLogger("fusion_store")


class SignalWatch:
    """A daemon thread that looks at the change signal four times within ``bound`` seconds, and calls ``changed``.

    What was read up to ``fresh_until`` (in seconds of ``monotonic``) may be answered: no revocation can be older than
    ``bound`` then. Where the store can't be read that time isn't moved on, so that nothing is answered any more.
    """

    def __init__(
        self,
        storage: RecordRepository,
        changed: Callable[[], None],
        bound: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._changed = changed
        self._bound = bound
        self._monotonic = monotonic
        self._signal = 0
        self.reset()

    def reset(self) -> None:
        """Start anew, as after a fork, which takes no thread along."""
        self.fresh_until = -math.inf
        self._starting = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look for the first time, and go on in the background; called in the guard. Nothing while it goes on."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is not None:
                return
            self._look(self._storage.change_signal)
            thread = threading.Thread(
                target=_watch,
                args=(weakref.ref(self), self._storage, self._stopped, self._bound / _LOOKS_PER_BOUND),
                name="fusion-store-cache",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:
                # The system has none to give: what was read is answered up to ``fresh_until``.
                return
            self._thread = thread

    def stop(self) -> None:
        """End the thread. One that hangs in the network isn't waited for: it ends when it gets its answer."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_SECONDS_TO_STOP)
        self.fresh_until = -math.inf

    def look(self, read: Callable[[], int]) -> None:
        """Read the signal; ``StoreClosed`` where the repository was closed."""
        self._storage.guard.check()
        self._look(read)

    def _look(self, read: Callable[[], int]) -> None:
        began = self._monotonic()
        signal = read()
        if signal != self._signal:
            self._changed()
            self._signal = signal
        self.fresh_until = began + self._bound


@contextmanager
def _signal_reader(storage: RecordRepository) -> Iterator[Callable[[], int]]:
    """The storage's own, which translates what reading raises; opened and closed as work in the background."""
    with ExitStack() as opened:
        closing = opened.enter_context(ExitStack())
        with background_work():
            read = opened.enter_context(storage.signal_reader())
        opened.callback(lambda: closing.enter_context(background_work()))
        yield read


def _watch(
    reference: weakref.ref[SignalWatch], storage: RecordRepository, stopped: threading.Event, interval: float
) -> None:
    """Look until the watch is stopped or forgotten, or its repository closed."""
    fails = False
    while reference() is not None:
        try:
            with _signal_reader(storage) as read:
                while not stopped.wait(interval):
                    watch = reference()
                    if watch is None:
                        return
                    with background_work():
                        watch.look(read)
                    fails = False
                    del watch
                return
        except (StoreClosed, ForkedHandle):
            return
        except FusionStoreError as error:
            if not fails:
                _log.warning("the change signal can't be read, tokens aren't cached: %s", type(error).__name__)
            fails = True
            if stopped.wait(interval):
                return
