"""Reading a store or a dump tenant by tenant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import groupby
from typing import Final, NamedTuple

from fusion_store._errors import ConfigError, CorruptRecord
from fusion_store.backend import (
    ENCRYPTION_MARK,
    PLAIN_MARK,
    APITokenRecord,
    AuthCodeRecord,
    CorruptPlace,
    CounterRecord,
    Dump,
    MarkRecord,
    Mode,
    Record,
    RecordRepository,
    SecretRecord,
    TenantRecord,
    check_record,
    holds_records,
    mode_of,
    refusal,
)
from fusion_store.layers import EncryptedTokenRepository, Keyring

TRANSFER_MARK: Final = "transfer"
"""The name of the mark that says how far an unfinished copy into a store has come."""

_FIRST_PAGE: Final = 10
_MOST_IN_PAGE: Final = 200
"""Tenants."""
_PAGE_BYTES: Final = 1024 * 1024
"""What a page, which lies in memory whole, should take."""


class Tenant(NamedTuple):
    """A tenant's records: itself first, each secret right before its counters."""

    hash: str
    records: list[Record]


class Source(ABC):
    """What a copy reads from."""

    origin: str
    """What tells it from other sources, the same each time: 64 hex characters."""
    mark: bytes
    """The encryption mark that goes with its payloads."""

    @abstractmethod
    def tenants(self, after: str | None) -> Iterator[Tenant]:
        """The tenants behind ``after``, by hash, every record sound and without its claim."""


class StoreSource(Source):
    """A store; ``name`` is the same each time."""

    def __init__(self, storage: RecordRepository, name: str) -> None:
        refuse_unfinished(storage)
        storage.flush()
        self.origin = sha256(f"store {name}".encode()).hexdigest()
        self._storage = storage
        self.mark = encryption_mark(storage)
        self._check = _payload_check(storage, self.mark)

    def tenants(self, after: str | None) -> Iterator[Tenant]:
        for tenant in scan_tenants(self._storage, after):
            yield Tenant(tenant.hash, [self._checked(record) for record in tenant.records])

    def _checked(self, record: Record) -> Record:
        self._check(record)
        checked = check_record(record)
        assert not isinstance(checked, MarkRecord)
        return checked


class DumpSource(Source):
    """An open dump."""

    def __init__(self, dump: Dump) -> None:
        self.origin = sha256(f"dump {dump.trailer.sha256}".encode()).hexdigest()
        self.mark = PLAIN_MARK if dump.mark is None else dump.mark.value
        self._dump = dump

    def tenants(self, after: str | None) -> Iterator[Tenant]:
        records = (record for record in self._dump.records() if not isinstance(record, MarkRecord))
        for tenant in _by_tenant(records):
            if after is None or tenant.hash > after:
                yield tenant


def refuse_unfinished(storage: RecordRepository) -> None:
    """``ConfigError`` for a store that a copy into it has left incomplete."""
    with storage.guard:
        if storage.read_mark(TRANSFER_MARK) is not None:
            raise ConfigError("the source is an unfinished copy itself: finish that first")


def encryption_mark(storage: RecordRepository) -> bytes:
    """The encryption mark of a store; an ``EncryptionError`` for one that is half converted."""
    with storage.guard:
        mark = storage.read_mark(ENCRYPTION_MARK)
    if mode_of(mark) is Mode.CONVERTING:
        raise refusal(mark)
    return PLAIN_MARK if mark is None else mark


def scan_tenants(
    storage: RecordRepository, after: str | None = None, corrupt: Callable[[CorruptPlace], None] | None = None
) -> Iterator[Tenant]:
    """The tenants of a store behind ``after``, by hash, as they are stored.

    What doesn't read is handed to ``corrupt``, or raises ``CorruptRecord`` before anything of its page is given.
    """
    limit = _FIRST_PAGE
    while True:
        with storage.guard:
            page = storage.scan_records(after, limit)
        for place in page.corrupt:
            if corrupt is None:
                raise CorruptRecord(
                    place.kind, tenant_hash=place.tenant_hash, service=place.service, reason=place.reason
                )
            corrupt(place)
        yield from _by_tenant(page.records)
        limit = max(1, min(_MOST_IN_PAGE, limit * _PAGE_BYTES // _size(page.records)))
        after = page.after
        if after is None:
            return


def _size(records: Iterable[Record]) -> int:
    return sum(len(r.payload) if isinstance(r, SecretRecord | AuthCodeRecord) else 256 for r in records) + 1


def _by_tenant(records: Iterable[Record]) -> Iterator[Tenant]:
    for hash, group in groupby(records, _tenant_of):
        yield Tenant(hash, sorted(group, key=_order))


def _tenant_of(record: Record) -> str:
    return record.tenant_hash if isinstance(record, TenantRecord | APITokenRecord) else record.place.tenant_hash


def _order(record: Record) -> tuple[int, str, str, str, int]:
    match record:
        case TenantRecord():
            return 0, "", "", "", 0
        case APITokenRecord():
            return 1, record.hash, "", "", 0
        case SecretRecord(place=place) | CounterRecord(place=place):
            return 2, place.kind, place.service, place.credential_type, isinstance(record, CounterRecord)
        case AuthCodeRecord():
            return 3, record.hash, "", "", 0


def _payload_check(storage: RecordRepository, mark: bytes) -> Callable[[Record], None]:
    if mode_of(mark) is Mode.SEALED and holds_records(storage):
        return EncryptedTokenRepository(storage, Keyring()).check_outgoing
    return storage.check_outgoing
