"""Whether the audit trail is what was recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator

from fusion_store._audit import AuditChain, AuditFault, AuditRecord
from fusion_store._values import Value
from fusion_store.audit._anchor import AnchoredChain, read_anchor
from fusion_store.backend import RecordRepository


class AuditReport(Value, frozen=True):
    """The outcome of verifying every chain."""

    chains: int
    records: int
    faults: tuple[AuditFault, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify(repository: RecordRepository, anchor: str | os.PathLike[str] | None = None) -> AuditReport:
    """Read every audit record and say which were altered, removed or moved.

    Whoever can write to the storage can also make up a whole chain anew, or cut its end off: compared with an
    ``anchor`` (``write_anchor``), the records that stood then are the same or were purged.
    """
    chains = records = 0
    faults: list[AuditFault] = []
    with repository.guard:
        purged_before = _purged_before(repository)
        anchored = _Anchored(iter(()) if anchor is None else read_anchor(anchor), purged_before)
        for chain in repository.audit_chains():
            faults += anchored.missing_before(chain.tenant_hash)
            counted = _Watched(anchored.end_of(chain.tenant_hash))
            faults += repository.audit_faults(chain, counted.watching)
            if chain.first > 1 and purged_before is None and _purged_before(repository) is None:
                faults.append(AuditFault(chain.tenant_hash, 1, "the oldest records are gone, but nothing was purged"))
            faults += anchored.compare(chain, counted.hash_at_end)
            chains, records = chains + 1, records + counted.number
        faults += anchored.missing_before(None)
    return AuditReport(chains, records, tuple(faults))


def _purged_before(repository: RecordRepository) -> int | None:
    """Up to which moment records were purged, as the store's own chain has it; None: never."""
    moments = [
        record.detail["before"]
        for record in repository.audit_records("")
        if record.action == "audit.purge" and "before" in record.detail
    ]
    return max(moments, default=None)


class _Watched:
    """Counts the records that are read, and remembers the hash of the one that was anchored."""

    def __init__(self, end: AnchoredChain | None) -> None:
        self._end = end
        self.number = 0
        self.hash_at_end: str | None = None

    def watching(self, records: Iterator[AuditRecord]) -> Iterator[AuditRecord]:
        """The records, from the first one on."""
        self.number, self.hash_at_end = 0, None
        for record in records:
            self.number += 1
            if self._end is not None and record.sequence == self._end.sequence:
                self.hash_at_end = record.hash
            yield record


class _Anchored:
    """Goes through an anchor beside the chains, both in order."""

    def __init__(self, ends: Iterator[AnchoredChain], purged_before: int | None) -> None:
        self._ends = ends
        self._next = next(ends, None)
        self._purged_before = purged_before

    def missing_before(self, tenant_hash: str | None) -> Iterator[AuditFault]:
        """The anchored chains before that one (None: all that are left), which the store doesn't have."""
        while self._next is not None and (tenant_hash is None or self._next.tenant_hash < tenant_hash):
            if not self._may_be_purged(self._next):
                yield AuditFault(self._next.tenant_hash, 1, f"records 1 to {self._next.sequence} are missing")
            self._next = next(self._ends, None)

    def end_of(self, tenant_hash: str) -> AnchoredChain | None:
        """How that chain ended when it was anchored."""
        return self._next if self._next is not None and self._next.tenant_hash == tenant_hash else None

    def compare(self, chain: AuditChain, hash: str | None) -> Iterator[AuditFault]:
        """What is wrong with a chain whose record at its anchored end has that hash; goes on to the next."""
        end = self.end_of(chain.tenant_hash)
        if end is None:
            return
        self._next = next(self._ends, None)
        if hash is not None and hash != end.hash:
            reason = f"record {end.sequence} isn't the one that was anchored"
            yield AuditFault(chain.tenant_hash, end.sequence, reason)
        elif hash is None and not chain.first <= end.sequence <= chain.last and not self._may_be_purged(end):
            reason = f"record {end.sequence} was anchored, and is missing"
            yield AuditFault(chain.tenant_hash, end.sequence, reason)

    def _may_be_purged(self, end: AnchoredChain) -> bool:
        return self._purged_before is not None and end.recorded_at < self._purged_before
