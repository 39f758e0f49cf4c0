"""Comparing two stores, record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from typing import Final

import msgspec

from fusion_store.backend import (
    ENCRYPTION_MARK,
    PLAIN_MARK,
    CorruptPlace,
    CounterRecord,
    Record,
    RecordRepository,
    holds_records,
)
from fusion_store.transfer._reading import scan_tenants
from fusion_store.transfer._reports import MOST_LISTED, Difference, Progress, Spot, VerifyReport, version_of

_encode: Final = msgspec.msgpack.Encoder().encode


def verify(
    source: RecordRepository, destination: RecordRepository, *, progress: Progress | None = None
) -> VerifyReport:
    """Compare everything that a copy carries: all records in every field, ``last_used`` included, and the encryption
    mark. Left out are claims.

    Needs no keys and changes nothing. What a live store changes meanwhile shows as a difference.
    """
    source.flush()
    destination.flush()
    return _Comparison(source, destination).run(progress)


class _Side:
    """One of the stores, read tenant by tenant."""

    def __init__(self, storage: RecordRepository, corrupt: Callable[[CorruptPlace], None]) -> None:
        self._digest = sha256()
        self._tenants = scan_tenants(storage, corrupt=corrupt)
        self.tenant = next(self._tenants, None)

    def take(self, hash: str) -> list[Record]:
        """The records of that tenant; none when it isn't the next one here."""
        if self.tenant is None or self.tenant.hash != hash:
            return []
        records = [r.without_claim() if isinstance(r, CounterRecord) else r for r in self.tenant.records]
        self.tenant = next(self._tenants, None)
        self._digest.update(_digest(records))
        return records

    def digest(self) -> str:
        return self._digest.hexdigest()


class _Comparison:
    def __init__(self, source: RecordRepository, destination: RecordRepository) -> None:
        self._tenants = self._records = self._differing_tenants = 0
        self._counts: Counter[str] = Counter()
        self._listed: list[Difference] = []
        self._same_encryption = _mark(source) == _mark(destination)
        self._source = _Side(source, partial(self._list_corrupt, "corrupt in the source"))
        self._destination = _Side(destination, partial(self._list_corrupt, "corrupt in the destination"))

    def run(self, progress: Progress | None) -> VerifyReport:
        while ahead := [side.tenant for side in (self._source, self._destination) if side.tenant is not None]:
            self._compare(min(tenant.hash for tenant in ahead))
            if progress is not None:
                progress(1)
        return VerifyReport(
            tenants=self._tenants,
            records=self._records,
            differing_tenants=self._differing_tenants,
            differences=dict(self._counts),
            listed=tuple(self._listed),
            same_encryption=self._same_encryption,
            source_digest=self._source.digest(),
            destination_digest=self._destination.digest(),
        )

    def _compare(self, hash: str) -> None:
        here, there = self._source.take(hash), self._destination.take(hash)
        self._tenants += 1
        self._records += len(here)
        if here != there:
            found = list(_differences(here, there))
            self._differing_tenants += bool(found)
            self._list(found)

    def _list_corrupt(self, what: str, place: CorruptPlace) -> None:
        self._list([Difference(Spot(place.tenant_hash, place.kind, place.service), what)])

    def _list(self, found: list[Difference]) -> None:
        self._counts.update(difference.what for difference in found)
        self._listed += found[: MOST_LISTED - len(self._listed)]


def _differences(here: list[Record], there: list[Record]) -> Iterator[Difference]:
    in_source = {Spot.of(record): record for record in here}
    in_destination = {Spot.of(record): record for record in there}
    for spot in sorted(in_source.keys() | in_destination.keys()):
        one, other = in_source.get(spot), in_destination.get(spot)
        if one != other:
            yield Difference(spot, _what(one, other), version_of(one), version_of(other))


def _what(one: Record | None, other: Record | None) -> str:
    if one is None or other is None:
        return "extra" if one is None else "missing"
    if version_of(one) != version_of(other):
        return "version"
    differing = {field for field in one.__struct_fields__ if getattr(one, field) != getattr(other, field)}
    if len(differing) == 1:
        return {"last_used": "last used", "payload": "payload"}.get(differing.pop(), "content")
    return "content"


def _digest(records: list[Record]) -> bytes:
    return sha256(_encode(records)).digest()


def _mark(storage: RecordRepository) -> bytes:
    """The encryption mark; an empty store takes whatever comes."""
    with storage.guard:
        if not holds_records(storage):
            return PLAIN_MARK
        return storage.read_mark(ENCRYPTION_MARK) or PLAIN_MARK
