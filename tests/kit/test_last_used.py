from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from fusion_store import StorageIO
from fusion_store.backend import LastUsedCoalescer, TokenUse

LONG = 3600.0


class Sink:
    def __init__(self) -> None:
        self.batches: list[dict[str, int]] = []
        self.failures = 0
        self.begun, self.done = threading.Event(), threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def write(self, batch: Mapping[str, int]) -> None:
        self.begun.set()
        assert self.go_on.wait(30)
        if self.failures:
            self.failures -= 1
            self.done.set()
            raise StorageIO("no")
        self.batches.append(dict(batch))
        self.done.set()


@pytest.fixture
def sink() -> Sink:
    return Sink()


def flush_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fusion-store-last-used"]


def test_uses_are_handed_over_together_the_newest_of_each(sink: Sink) -> None:
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG)
    try:
        answers = [coalescer.note("a", 5), coalescer.note("b", 1), coalescer.note("a", 7), coalescer.note("a", 6)]
        assert answers == [None, None, 5, 7]
        assert (coalescer.pending("a"), coalescer.pending("b"), coalescer.pending("c")) == (7, 1, None)

        coalescer.flush()
        coalescer.flush()

        assert sink.batches == [{"a": 7, "b": 1}]
        assert coalescer.pending("a") is None
    finally:
        coalescer.stop()


def test_many_waiting_uses_are_flushed_without_being_asked(sink: Sink) -> None:
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG, count=3)
    try:
        for hash in ("a", "b", "a", "c"):
            assert not sink.begun.is_set()
            coalescer.note(hash, 1)
        assert sink.done.wait(30)
        assert sink.batches == [{"a": 1, "b": 1, "c": 1}]
    finally:
        coalescer.stop()


def test_flushing_goes_on_and_on(sink: Sink) -> None:
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG, count=1)
    try:
        for used_at in range(3):
            sink.done.clear()
            coalescer.note("a", used_at)
            assert sink.done.wait(30)
        assert sink.batches == [{"a": 0}, {"a": 1}, {"a": 2}]
    finally:
        coalescer.stop()


def test_uses_are_flushed_after_a_while(sink: Sink) -> None:
    coalescer = LastUsedCoalescer(sink.write, seconds=0.001)
    try:
        coalescer.note("a", 1)
        assert sink.done.wait(30)
        assert sink.batches == [{"a": 1}]
    finally:
        coalescer.stop()


def test_a_failed_flush_is_kept_for_the_next(sink: Sink) -> None:
    sink.failures = 2
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG)
    try:
        coalescer.note("a", 5)
        coalescer.note("b", 5)
        with pytest.raises(StorageIO):
            coalescer.flush()
        assert coalescer.pending("a") == 5
        coalescer.note("a", 9)
        coalescer.note("b", 3)
        with pytest.raises(StorageIO):
            coalescer.flush()

        coalescer.flush()

        assert sink.batches == [{"a": 9, "b": 5}]
    finally:
        coalescer.stop()


def test_a_use_during_a_failing_flush_is_not_lost(sink: Sink) -> None:
    sink.failures = 1
    sink.go_on.clear()
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG)
    try:
        coalescer.note("a", 5)
        coalescer.note("b", 5)
        with ThreadPoolExecutor(1) as threads:
            flushing = threads.submit(coalescer.flush)
            assert sink.begun.wait(30)
            assert coalescer.pending("a") == 5
            assert coalescer.note("a", 8) == 5
            assert coalescer.note("b", 2) == 5
            sink.go_on.set()
            with pytest.raises(StorageIO):
                flushing.result(30)
        coalescer.flush()
        assert sink.batches == [{"a": 8, "b": 5}]
    finally:
        coalescer.stop()


def test_a_failed_flush_in_the_background_is_logged_and_tried_again(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    sink.failures = 1
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG, count=2)
    try:
        with caplog.at_level(logging.WARNING, "fusion_store"):
            coalescer.note("aaaa", 1)
            coalescer.note("bbbb", 1)
            assert sink.done.wait(30)
            sink.done.clear()
            while coalescer.pending("aaaa") is None or not caplog.records:
                pass
        assert "StorageIO" in caplog.text
        assert "aaaa" not in caplog.text
        coalescer.flush()
        assert sink.batches == [{"aaaa": 1, "bbbb": 1}]
    finally:
        coalescer.stop()


def test_stopping_leaves_no_thread_and_hands_over_what_waits(sink: Sink) -> None:
    before = flush_threads()
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG)
    coalescer.note("a", 1)
    assert len(flush_threads()) == len(before) + 1

    coalescer.stop()
    coalescer.stop()

    assert flush_threads() == before
    assert coalescer.take() == {"a": 1}
    assert coalescer.take() == {}
    coalescer.note("b", 1)
    assert flush_threads() == before
    assert sink.batches == []


def test_nothing_starts_before_the_first_use(sink: Sink) -> None:
    before = flush_threads()

    coalescer = LastUsedCoalescer(sink.write)

    assert flush_threads() == before
    coalescer.stop()


def test_a_forgotten_coalescer_is_collected_and_its_thread_ends() -> None:
    before = flush_threads()
    sink = Sink()
    coalescer = LastUsedCoalescer(sink.write, seconds=0.01)
    coalescer.note("a", 1)
    threads = [thread for thread in flush_threads() if thread not in before]
    references: list[weakref.ref[object]] = [weakref.ref(sink), weakref.ref(coalescer)]

    del sink, coalescer
    for thread in threads:
        thread.join(30)
    gc.collect()

    assert [reference() for reference in references] == [None, None]
    assert flush_threads() == before


def test_a_coalescer_does_not_keep_what_it_writes_to_alive() -> None:
    sink = Sink()
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG)
    coalescer.note("a", 1)
    reference = weakref.ref(sink)

    del sink
    gc.collect()

    assert reference() is None
    coalescer.flush()
    coalescer.stop()


def test_after_a_reset_nothing_waits(sink: Sink) -> None:
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG)
    coalescer.note("a", 1)
    coalescer.stop()

    coalescer.reset()

    assert coalescer.pending("a") is None
    coalescer.flush()
    assert sink.batches == []


def at(micros: int) -> datetime:
    return datetime.fromtimestamp(0, UTC).replace(microsecond=micros)


def test_a_use_kept_elsewhere_is_read_when_it_is_written(sink: Sink) -> None:
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG)
    try:
        use = TokenUse("a", at(5))
        coalescer.add(use)
        use.at = at(8)
        coalescer.note("a", 6)
        assert use.waits
        assert (coalescer.pending("a"), coalescer.backlog()) == (8, 1)

        coalescer.flush()

        assert sink.batches == [{"a": 8}]
        assert not use.waits
        assert coalescer.pending("a") is None
        coalescer.flush()
        assert sink.batches == [{"a": 8}]
    finally:
        coalescer.stop()


def test_of_two_uses_of_a_token_the_newest_counts(sink: Sink) -> None:
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG)
    try:
        first, second = TokenUse("a", at(9)), TokenUse("a", at(3))
        for use in (first, second, second):
            coalescer.add(use)
        assert coalescer.pending("a") == 9
        assert (first.waits, second.waits) == (False, True)

        coalescer.flush()

        assert sink.batches == [{"a": 9}]
    finally:
        coalescer.stop()


def test_uses_kept_elsewhere_are_flushed_by_count_and_kept_after_a_failure(sink: Sink) -> None:
    sink.failures = 1
    coalescer = LastUsedCoalescer(sink.write, seconds=LONG, count=2)
    try:
        uses = [TokenUse("a", at(1)), TokenUse("b", at(2))]
        for use in uses:
            coalescer.add(use)
        assert sink.done.wait(30)
        while coalescer.pending("b") is None:
            pass
        uses[1].at = at(7)
        coalescer.add(uses[1])
        coalescer.stop()

        assert coalescer.take() == {"a": 1, "b": 7}
    finally:
        coalescer.stop()
