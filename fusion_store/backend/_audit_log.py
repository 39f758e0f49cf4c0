"""The typed operation on the audit trail, and going through it chain by chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from fusion_store._audit import AuditChain, AuditFault, AuditRecord
from fusion_store._errors import CorruptRecord
from fusion_store.backend import _limits as limits
from fusion_store.backend._audit import find_faults
from fusion_store.backend._operations import Operations, operation

_PAGE: Final = 500

Watch = Callable[[Iterator[AuditRecord]], Iterable[AuditRecord]]


class AuditOperations(Operations):
    """The audit trail."""

    @operation
    def audit_log(
        self, *, tenant_hash: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[AuditRecord]:
        place, size = limits.audit_cursor(after), limits.page_size(limit)
        if tenant_hash and limits.record_hash(tenant_hash, "tenant_hash") is None:
            return []
        records = self.scan_audit_records(tenant_hash, place, size)
        for record in records:
            if record.computed_hash() != record.hash:
                reason = f"record {record.sequence} was altered"
                raise CorruptRecord("audit", tenant_hash=record.tenant_hash, reason=reason)
        return records

    def audit_chains(self) -> Iterator[AuditChain]:
        """All chains in the order of their tenant hashes, the store's own first. Inside the guard."""
        after: str | None = None
        while page := self.scan_audit_chains(after, _PAGE):
            yield from page
            after = page[-1].tenant_hash

    def audit_faults(self, chain: AuditChain, watch: Watch = iter) -> list[AuditFault]:
        """What is wrong with a chain, others writing on meanwhile; ``watch`` sees its records. Inside the guard.

        Whatever is behind the end that was read first, and before the end that stands afterwards, was added meanwhile;
        a chain that was cut meanwhile is read again.
        """
        while True:
            faults = list(find_faults(chain, watch(self.audit_records(chain.tenant_hash))))
            if not faults:
                return []
            later = self._chain_now(chain)
            if later is None:
                return []
            faults = [fault for fault in faults if not chain.last < fault.sequence <= later.last]
            if later.first == chain.first:
                return faults
            chain = later

    def _chain_now(self, chain: AuditChain) -> AuditChain | None:
        tenant_hash, after = chain.tenant_hash, None
        if tenant_hash and not limits.is_hash(tenant_hash):
            # A damaged name: nobody writes on there.
            return chain
        if tenant_hash:
            before = int(tenant_hash, 16) - 1
            after = "" if before < 0 else format(before, f"0{len(tenant_hash)}x")
        # Damaged names may lie in between.
        while found := self.scan_audit_chains(after, 1):
            if found[0].tenant_hash >= tenant_hash:
                return found[0] if found[0].tenant_hash == tenant_hash else None
            after = found[0].tenant_hash
        return None

    def audit_records(self, tenant_hash: str, behind: int | None = None) -> Iterator[AuditRecord]:
        """A chain's records by sequence, all or those behind one of them, unverified. Inside the guard."""
        place = None if behind is None else (0, behind, tenant_hash)
        while page := self.scan_audit_records(tenant_hash, place, _PAGE):
            yield from page
            last = page[-1].sequence
            if place is not None and last <= place[1]:
                return
            place = (0, last, tenant_hash)
