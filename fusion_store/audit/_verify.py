"""Whether the audit trail is what was recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from fusion_store._audit import AuditChain, AuditFault, AuditRecord
from fusion_store._values import Value
from fusion_store.audit._anchor import AnchoredChain, read_anchor
from fusion_store.backend import AUDIT_MARK, AuditSettings, RecordRepository, settings_of

_LONG_AGO: Final = -(2**63)


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
    ``anchor`` (``write_anchor``), the records that stood then are the same or were purged. Without one, what is
    missing at the beginning of a chain is taken for purged as soon as anything was.
    """
    chains = records = 0
    found: list[_Found] = []
    with repository.guard:
        anchored = _Anchored(iter(()) if anchor is None else read_anchor(anchor))
        for chain in repository.audit_chains():
            found += anchored.missing_before(chain.tenant_hash)
            counted = _Watched(anchored.end_of(chain.tenant_hash))
            found += map(_Found, repository.audit_faults(chain, counted.watching))
            if chain.first > 1:
                reason = "the oldest records are gone, but nothing was purged"
                found.append(_Found(AuditFault(chain.tenant_hash, 1, reason), _LONG_AGO))
            found += anchored.compare(chain, counted.hash_at_end)
            chains, records = chains + 1, records + counted.number
        found += anchored.missing_before(None)
        # Last, so that it tells of purges that went on meanwhile.
        told = _Told(repository)
        found += map(_Found, told.switch_faults())
    return AuditReport(chains, records, tuple(one.fault for one in found if not told.explains(one)))


class _Found(NamedTuple):
    fault: AuditFault
    newest: int | None = None
    """A purge explains it that deleted what was recorded up to that moment; None: nothing does."""


class _Told:
    """What the store's own chain tells: up to when records were purged, and whether changes are to be recorded."""

    def __init__(self, repository: RecordRepository) -> None:
        self._repository = repository
        self._end: int | None = None
        self._switch: AuditRecord | None = None
        self._purged_before = _LONG_AGO
        self._settings: AuditSettings | None = None
        # Until nothing was recorded between a look at the chain and one at the mark.
        while self._read_on():
            self._settings = settings_of(repository.read_mark(AUDIT_MARK))

    def _read_on(self) -> bool:
        began = self._end
        for record in self._repository.audit_records("", self._end):
            self._end = record.sequence
            if record.action in ("audit.enable", "audit.disable"):
                self._switch = record
            elif record.action == "audit.purge":
                self._purged_before = max(self._purged_before, record.detail.get("before", _LONG_AGO))
        return self._end != began

    def explains(self, found: _Found) -> bool:
        """Whether what is missing was purged."""
        return found.newest is not None and found.newest < self._purged_before

    def switch_faults(self) -> Iterator[AuditFault]:
        """Where the mark isn't what was recorded last of turning the trail on or off."""
        if self._end is None:
            return
        at = self._end if self._switch is None else self._switch.sequence
        # Where that record was purged, what stands was recorded while the trail was on.
        if self._switch is None or self._switch.action == "audit.enable":
            if self._settings is None:
                yield AuditFault("", at, "changes aren't recorded any more, but nobody turned that off")
            elif self._switch is not None and self._settings.keep_micros != self._switch.detail.get("keep"):
                yield AuditFault("", at, "records aren't kept as long as was recorded")
        elif self._settings is not None:
            yield AuditFault("", at, "changes are recorded, but that was turned off")


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

    def __init__(self, ends: Iterator[AnchoredChain]) -> None:
        self._ends = ends
        self._next = next(ends, None)

    def missing_before(self, tenant_hash: str | None) -> Iterator[_Found]:
        """The anchored chains before that one (None: all that are left), which the store doesn't have."""
        while self._next is not None and (tenant_hash is None or self._next.tenant_hash < tenant_hash):
            fault = AuditFault(self._next.tenant_hash, 1, f"records 1 to {self._next.sequence} are missing")
            yield _Found(fault, _newest(self._next))
            self._next = next(self._ends, None)

    def end_of(self, tenant_hash: str) -> AnchoredChain | None:
        """How that chain ended when it was anchored."""
        return self._next if self._next is not None and self._next.tenant_hash == tenant_hash else None

    def compare(self, chain: AuditChain, hash: str | None) -> Iterator[_Found]:
        """What is wrong with a chain whose record at its anchored end has that hash; goes on to the next."""
        end = self.end_of(chain.tenant_hash)
        if end is None:
            return
        self._next = next(self._ends, None)
        if hash is not None and hash != end.hash:
            reason = f"record {end.sequence} isn't the one that was anchored"
            yield _Found(AuditFault(chain.tenant_hash, end.sequence, reason))
        elif hash is None and not chain.first <= end.sequence <= chain.last:
            reason = f"record {end.sequence} was anchored, and is missing"
            yield _Found(AuditFault(chain.tenant_hash, end.sequence, reason), _newest(end))
        elif end.first is not None and end.first < chain.first:
            reason = f"record {end.first} was anchored, and is missing"
            yield _Found(AuditFault(chain.tenant_hash, end.first, reason), end.first_recorded_at)


def _newest(end: AnchoredChain) -> int:
    """When the newest record was recorded of which an anchor knows that."""
    return end.recorded_at if end.first_recorded_at is None else max(end.first_recorded_at, end.recorded_at)
