"""Copying a store, or a dump, into a store."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from os import PathLike
from typing import Final

import msgspec

from fusion_store._errors import AlreadyExists, ConfigError, FusionStoreError
from fusion_store.backend import (
    AuthCodeRecord,
    CounterRecord,
    Dump,
    Record,
    RecordRepository,
    SecretRecord,
    SecretState,
    holds_records,
)
from fusion_store.transfer._merging import DeletedThere, Merging, was_deleted
from fusion_store.transfer._reading import TRANSFER_MARK, DumpSource, Source, StoreSource, Tenant
from fusion_store.transfer._reports import MOST_LISTED, Conflict, CopyReport, Progress, Spot

_PROBE_MARK: Final = "transfer.probe"
_MOST_RECORDS: Final = 1000
_MOST_BYTES: Final = 4 * 1024 * 1024
_JOURNAL_SECONDS: Final = 1.0


def copy(
    source: RecordRepository,
    destination: RecordRepository,
    *,
    name: str,
    merge: bool = False,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy all records of a store into another one.

    ``name`` is the same each time this source is copied, its URL say; only a hash of it is kept. A copy that was cut
    short goes on behind the last tenant that is known to be complete when it is run again.

    With ``merge`` the destination may hold records already. Equal ones are skipped. Of secrets that differ the higher
    version wins (the later of two equal ones), and one that was deleted in the destination since that version stays
    deleted; API tokens keep the earlier expiry; of tenants and auth codes the standing one stays; counters take the
    higher number. What the destination alone has stays.

    Raises ``AlreadyExists`` when the destination holds records and ``merge`` isn't given, or an unfinished copy of
    another source; ``ConfigError`` when both are the same store; ``CorruptRecord`` for a record of the source that
    doesn't read, before it is written; an ``EncryptionError`` when one store is sealed and the other one, holding
    records, is plain, or the source is half converted.
    """
    _refuse_same(source, destination)
    return _receive(StoreSource(source, name), destination, merge=merge, progress=progress)


def restore(
    source: str | PathLike[str] | Dump,
    destination: RecordRepository,
    *,
    merge: bool = False,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy all records of a dump, an open one or the file at a path, into a store, as ``copy`` does.

    The whole file is verified before anything is written; raises what ``fusion_store.backend.read_dump`` does.
    """
    with nullcontext(source) if isinstance(source, Dump) else Dump(source) as dump:
        return _receive(DumpSource(dump), destination, merge=merge, progress=progress)


def _refuse_same(source: RecordRepository, destination: RecordRepository) -> None:
    """However the URLs are spelled: what is written to one mustn't show in the other."""
    probe = secrets.token_bytes(16)
    with source.guard, destination.guard:
        destination.write_mark(_PROBE_MARK, probe)
        try:
            same = source.read_mark(_PROBE_MARK) == probe
        finally:
            destination.write_mark(_PROBE_MARK, None)
    if same:
        raise ConfigError("source and destination are the same store")


def _receive(source: Source, destination: RecordRepository, *, merge: bool, progress: Progress | None) -> CopyReport:
    journal = _Journal.begin(destination, source.origin, merge=merge)
    tally = _Tally(resumed=journal.after is not None)
    if progress is not None and journal.tenants:
        progress(journal.tenants)
    at_rest = True
    try:
        for batch in _batches(source.tenants(journal.after)):
            at_rest = False
            _write(destination, batch.records, source.mark, tally)
            journal.advance(batch.last_complete, batch.tenants)
            at_rest = True
            tally.tenants += batch.tenants
            if progress is not None:
                progress(batch.tenants)
    except BaseException as error:
        # Ctrl-C in the middle of a write may leave the destination locked by this very process.
        if at_rest or isinstance(error, Exception):
            with suppress(FusionStoreError):
                journal.save()
        raise
    journal.end()
    return tally.report()


class _Progressed(msgspec.Struct):
    origin: str
    after: str | None
    tenants: int


class _Journal:
    """How far the copy has come, in a mark of the destination."""

    def __init__(self, destination: RecordRepository, state: _Progressed) -> None:
        self._destination = destination
        self._state = state
        self._saved_at = time.monotonic()

    @classmethod
    def begin(cls, destination: RecordRepository, origin: str, *, merge: bool) -> _Journal:
        """Where to go on; ``AlreadyExists`` where the destination isn't free."""
        with destination.guard:
            mark = destination.read_mark(TRANSFER_MARK)
            occupied = mark is None and holds_records(destination)
        state = None if mark is None else _read(mark)
        if state is not None and state.origin == origin:
            return cls(destination, state)
        if mark is not None and not merge:
            raise AlreadyExists(
                "the destination holds an unfinished copy of another source: finish that one, take an empty "
                "destination, or merge"
            )
        if occupied and not merge:
            raise AlreadyExists("the destination holds records already: take an empty one, or merge")
        journal = cls(destination, _Progressed(origin, None, 0))
        journal.save()
        return journal

    @property
    def after(self) -> str | None:
        """The last tenant that is complete; None when none is."""
        return self._state.after

    @property
    def tenants(self) -> int:
        """How many are complete."""
        return self._state.tenants

    def advance(self, after: str | None, tenants: int) -> None:
        """So many more tenants are complete, up to ``after``; saved now and then."""
        if after is None:
            return
        self._state.after = after
        self._state.tenants += tenants
        if time.monotonic() - self._saved_at >= _JOURNAL_SECONDS:
            self.save()

    def save(self) -> None:
        """Write it down."""
        with self._destination.guard:
            self._destination.write_mark(TRANSFER_MARK, msgspec.json.encode(self._state))
        self._saved_at = time.monotonic()

    def end(self) -> None:
        """The copy is complete."""
        with self._destination.guard:
            self._destination.write_mark(TRANSFER_MARK, None)


def _read(mark: bytes) -> _Progressed | None:
    try:
        return msgspec.json.decode(mark, type=_Progressed)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class _Batch:
    """Records that are written in one step, with the last tenant that is complete then."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.tenants = 0
        self.last_complete: str | None = None
        self._bytes = 0

    def takes(self, record: Record) -> bool:
        """Whether there is room. Counters go with their secret, which may turn out to be deleted."""
        is_full = len(self.records) >= _MOST_RECORDS or self._bytes >= _MOST_BYTES
        return not is_full or isinstance(record, CounterRecord)

    def add(self, record: Record) -> None:
        self.records.append(record)
        if isinstance(record, SecretRecord | AuthCodeRecord):
            self._bytes += len(record.payload)


def _batches(tenants: Iterator[Tenant]) -> Iterator[_Batch]:
    batch = _Batch()
    for tenant in tenants:
        for record in tenant.records:
            if not batch.takes(record):
                yield batch
                batch = _Batch()
            batch.add(record)
        batch.tenants += 1
        batch.last_complete = tenant.hash
    if batch.records:
        yield batch


class _Tally:
    """What was done so far."""

    def __init__(self, *, resumed: bool) -> None:
        self.tenants = self._records = self._written = self._replaced = self._conflicts = 0
        self._listed: list[Conflict] = []
        self._resumed = resumed

    def add(self, records: int, written: int, replaced: int, conflicts: list[Conflict]) -> None:
        self._records += records
        self._written += written
        self._replaced += replaced
        self._conflicts += len(conflicts)
        self._listed += conflicts[: MOST_LISTED - len(self._listed)]

    def report(self) -> CopyReport:
        return CopyReport(
            tenants=self.tenants,
            records=self._records,
            added=self._written - self._replaced,
            replaced=self._replaced,
            skipped=self._records - self._written,
            conflicts=self._conflicts,
            listed=tuple(self._listed),
            resumed=self._resumed,
        )


def _write(destination: RecordRepository, records: list[Record], mode: bytes, tally: _Tally) -> None:
    incoming, deleted = records, list[Conflict]()
    with destination.guard:
        while True:
            merging = Merging(incoming)
            try:
                audit = destination.audit_entry("records.import")
                written = destination.insert_records(incoming, mode, merging.resolve, audit=audit)
                break
            except DeletedThere:
                gone = list(_deleted(destination, incoming, mode))
                deleted += gone
                spots = {conflict.spot for conflict in gone}
                incoming = [record for record in incoming if Spot.of(record) not in spots]
    tally.add(len(records), written, merging.replaced, deleted + merging.conflicts)


def _deleted(destination: RecordRepository, records: list[Record], mode: bytes) -> Iterator[Conflict]:
    """The secrets among these records that were deleted in the destination."""
    for record in records:
        if isinstance(record, SecretRecord):
            seen: list[SecretState] = []
            destination.change_secret(record.place, seen.append, mode)
            counter = seen[-1].counter
            if seen[-1].secret is None and was_deleted(counter, record):
                yield Conflict(Spot.of(record), counter.version, record.version, "deletion")
