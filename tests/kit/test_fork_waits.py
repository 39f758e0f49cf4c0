"""A fork waits until the vault's own threads are outside the store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from fusion_store import Unavailable
from fusion_store.backend import AttemptRecorder, LastUsedCoalescer
from fusion_store.backend._probe import Probe
from fusion_store.layers import CachedTokenRepository
from fusion_store_memory import MemoryTokenRepository

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Work:
    """Something in the store that takes a while, and may not be under way when the process is forked."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.under_way = False

    def __call__(self) -> None:
        self.under_way = True
        self.begun.set()
        time.sleep(0.3)
        self.under_way = False

    def write(self, _: Mapping[str, int]) -> None:
        self()

    def is_seen_by_a_child(self) -> bool:
        assert self.begun.wait(30)
        child = os.fork()
        if not child:
            os._exit(self.under_way)
        return bool(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def test_a_flush_of_last_uses_ends_first() -> None:
    work = Work()
    coalescer = LastUsedCoalescer(work.write, count=1)
    coalescer.note("hash", 1)

    assert not work.is_seen_by_a_child()
    coalescer.stop()


def test_a_check_that_nobody_waits_for_any_more_ends_first() -> None:
    work = Work()
    with pytest.raises(Unavailable):
        Probe[None]().run(work, 0.01)

    assert not work.is_seen_by_a_child()


def test_a_sink_of_attempts_ends_first() -> None:
    work = Work()
    recorder = AttemptRecorder(lambda _: work())
    recorder.refuse("guessed", None, 0)

    assert not work.is_seen_by_a_child()
    recorder.stop()


@pytest.mark.parametrize("part", ["opening", "closing"])
def test_the_reader_of_the_change_signal_is_opened_and_closed_first(part: str) -> None:
    work = Work()

    class Storage(MemoryTokenRepository):
        @contextmanager
        def signal_reader(self) -> Iterator[Callable[[], int]]:
            if part == "opening":
                work()
            yield self.change_signal
            if part == "closing":
                work()

    vault = CachedTokenRepository(Storage())
    vault.validate_api_token(vault.add_api_token().token)
    closing = threading.Thread(target=vault.close)
    closing.start()

    assert not work.is_seen_by_a_child()
    closing.join()


def test_the_reader_of_the_change_signal_translates_what_reading_raises() -> None:
    failed, again = threading.Event(), threading.Event()

    class Storage(MemoryTokenRepository):
        @contextmanager
        def signal_reader(self) -> Iterator[Callable[[], int]]:
            def read() -> int:
                raise OSError("of the driver")

            if failed.is_set():
                again.set()
            try:
                yield read
            except OSError:
                failed.set()
                raise Unavailable("away") from None

    with CachedTokenRepository(Storage()) as vault:
        vault.validate_api_token(vault.add_api_token().token)
        assert failed.wait(30)
        assert again.wait(30)
