"""Reading and writing an open database, up to its first failed write."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, Self

import plyvel

from fusion_store import CorruptStore, FusionStoreError, OutcomeUnknown, StorageFull, StorageIO
from fusion_store.backend import InFlightGuard
from fusion_store_leveldb._errors import DRIVER_ERRORS, translate, translated
from fusion_store_leveldb._fork import OpenDatabase
from fusion_store_leveldb._keys import Range, is_mark

_MOST_IN_GROUP: Final = 64


class Changes:
    """Puts and deletes that are written together; a later one of the same key counts."""

    def __init__(self) -> None:
        self.entries: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""
        self.entries.append((key, value))

    def delete(self, key: bytes) -> None:
        """Delete a key, which may be missing."""
        self.entries.append((key, None))


class View:
    """Reads a database, or one of its snapshots."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None when there is none."""
        try:
            value: bytes | None = self._source.get(key, verify_checksums=True)
        except DRIVER_ERRORS as error:
            raise translate(error) from None
        return value

    def get_mark(self, key: bytes) -> bytes | None:
        """As ``get``, of a mark."""
        return self.get(key)

    def scan(self, wanted: Range) -> Iterator[tuple[bytes, bytes]]:
        """The keys and values of a range in order, as they were when the first was asked for."""
        try:
            # Not plyvel's other iterator: where nothing readable follows, that takes damage for the end.
            with closing(self._source.raw_iterator(verify_checksums=True)) as entries:
                entries.seek(wanted.start)
                while entries.valid():
                    key, value = entries.item()
                    if key >= wanted.stop:
                        return
                    yield key, value
                    entries.next()
        except DRIVER_ERRORS as error:
            raise translate(error) from None

    def survey(self, wanted: Range) -> Iterator[tuple[bytes, bytes | None]]:
        """As ``scan``, but going on behind what LevelDB can't read.

        That is one or more entries, shown as one: with the first key behind them (or the range's end) and None.
        """
        start: bytes | None = wanted.start
        with translated():
            while start is not None:
                start = yield from self._survey(Range(start, wanted.stop))

    def _survey(self, wanted: Range) -> Generator[tuple[bytes, bytes | None], None, bytes | None]:
        """Up to the first damage; returns where to go on."""
        with closing(self._source.raw_iterator(verify_checksums=True)) as entries:
            damaged = _moves_on_damage(entries.seek, wanted.start)
            while entries.valid() and entries.key() < wanted.stop:
                key: bytes = entries.key()
                if damaged:
                    yield key, None
                yield key, entries.value()
                if damaged:
                    return key + b"\0"
                damaged = _moves_on_damage(entries.next)
            if damaged:
                yield wanted.stop, None
        return None


class Session(View):
    """An open database, used by many threads; as a context manager, one use of it.

    LevelDB goes on after a failed write, and then loses what it acknowledges: the log it appends to is broken. So one
    write is under way at a time, into which those that wait are merged, to share its fsync; and the first failure
    fails all that come later.
    """

    def __init__(self, database: Any) -> None:
        super().__init__(database)
        self._inherited = OpenDatabase(database)
        self._guard = InFlightGuard()
        self._mutex = threading.Lock()
        self._waiting: deque[_Write] = deque()
        self._writing = False
        self._failure: FusionStoreError | None = None
        self._marks: dict[bytes, bytes | None] = {}

    @property
    def has_failed(self) -> bool:
        """Whether a write failed: nothing can be written any more, and the database is to be reopened."""
        return self._failure is not None

    def begin_use(self) -> None:
        """Count one more use, which ends with the ``with`` block; ``StoreClosed`` once ``close`` was called."""
        self._guard.__enter__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._guard.__exit__()

    @contextmanager
    def snapshot(self) -> Iterator[View]:
        """The database as it is now, whatever is written meanwhile."""
        with translated():
            snapshot = self._source.snapshot()
        with closing(snapshot):
            yield View(snapshot)

    def get_mark(self, key: bytes) -> bytes | None:
        """As ``get``, of a mark: every write looks at some, so that they are kept until one is written."""
        marks = self._marks
        if key not in marks:
            marks[key] = self.get(key)
        return marks[key]

    def write(self, changes: Changes, *, sync: bool = True) -> None:
        """Write the changes in one atomic step, with ``sync`` durably.

        ``OutcomeUnknown`` when that failed; ``StorageFull`` or ``StorageIO``, nothing having been written, when an
        earlier write did.
        """
        write = _Write(changes, sync)
        with self._mutex:
            self._refuse_after_failure()
            self._waiting.append(write)
            if not self._writing:
                self._writing = True
                self._hand_on()
        try:
            write.turn.acquire()
            if not write.is_over:
                self._write_group()
        except BaseException:
            self._withdraw(write)
            raise
        if write.error is not None:
            raise write.error from None

    def close(self) -> None:
        """Wait until nobody uses the database, and close it."""
        if self._guard.close():
            self._source.close()

    def _refuse_after_failure(self) -> None:
        if self._failure is not None:
            raise type(self._failure)("an earlier write failed; nothing of this one was written")

    def _write_group(self) -> None:
        """Write what waits, in the thread of the first one that does, and hand on to the next."""
        group: list[_Write] = []
        failure: FusionStoreError | None = StorageIO("a write was interrupted")
        try:
            with self._mutex:
                while self._waiting and len(group) < _MOST_IN_GROUP:
                    group.append(self._waiting.popleft())
            self._write_batch(group)
            failure = None
        except DRIVER_ERRORS as error:
            failure = translate(error)
        finally:
            with self._mutex:
                if failure is not None:
                    self._fail(group, failure)
                for write in group:
                    write.end()
                self._hand_on()

    def _write_batch(self, group: list[_Write]) -> None:
        batch = self._source.write_batch(sync=any(write.sync for write in group))
        changes_marks = False
        for write in group:
            for key, value in write.changes.entries:
                changes_marks = changes_marks or is_mark(key)
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
        batch.write()
        if changes_marks:
            # Another one: who has read an old value meanwhile puts it where nobody looks any more.
            self._marks = {}

    def _fail(self, group: list[_Write], failure: FusionStoreError) -> None:
        self._failure = failure if isinstance(failure, StorageFull | CorruptStore) else StorageIO()
        for write in group:
            write.error = OutcomeUnknown("LevelDB failed to write: the change may or may not have been made")
        while self._waiting:
            write = self._waiting.popleft()
            write.error = type(self._failure)("an earlier write failed; nothing of this one was written")
            write.end()

    def _hand_on(self) -> None:
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].turn.release()
        else:
            self._writing = False

    def _withdraw(self, write: _Write) -> None:
        """Take back a write whose thread was interrupted while it waited."""
        with self._mutex:
            if write in self._waiting:
                self._waiting.remove(write)
                # Its turn may have come just then, and nobody else would take it.
                if write.leads:
                    self._hand_on()


class _Write:
    """One caller's changes on their way; ``turn`` is released when they are over, or theirs to write."""

    def __init__(self, changes: Changes, sync: bool) -> None:
        self.changes = changes
        self.sync = sync
        self.turn = threading.Lock()
        self.turn.acquire()
        self.leads = False
        self.is_over = False
        self.error: FusionStoreError | None = None

    def end(self) -> None:
        self.is_over = True
        self.turn.release()


def _moves_on_damage(move: Any, *arguments: bytes) -> bool:
    """Move a raw iterator; True when LevelDB met damage on the way, and went on behind it."""
    try:
        move(*arguments)
    except plyvel.CorruptionError:
        return True
    return False
