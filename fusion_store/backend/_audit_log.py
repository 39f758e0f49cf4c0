"""The typed operation on the audit trail, and going through it chain by chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fusion_store._audit import AuditChain, AuditRecord
from fusion_store._errors import CorruptRecord
from fusion_store.backend import _limits as limits
from fusion_store.backend._operations import Operations, operation

_PAGE: Final = 500


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

    def audit_records(self, tenant_hash: str, since: int = 1) -> Iterator[AuditRecord]:
        """A chain's records from that one on, by sequence, unverified. Inside the guard."""
        after = since - 1
        while page := self.scan_audit_records(tenant_hash, (0, after, tenant_hash), _PAGE):
            yield from page
            if page[-1].sequence <= after:
                return
            after = page[-1].sequence
