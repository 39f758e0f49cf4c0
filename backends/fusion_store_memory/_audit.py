"""The audit trail of a state: appending with a change, reading, and cutting off what is old.

Whoever calls holds the state's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from fusion_store.backend import AUDIT_MARK, AuditChain, AuditEntry, AuditRecord, extend_chains
from fusion_store_memory._state import State


def is_audited(state: State) -> bool:
    """Whether changes are recorded."""
    return AUDIT_MARK in state.marks


def append(state: State, entries: Iterable[AuditEntry], hand_to_sink: Callable[[Sequence[AuditRecord]], None]) -> None:
    """Add the records of these entries, unless the sink refuses them."""
    chains = dict(state.chains)
    records = extend_chains(chains, entries)
    hand_to_sink(records)
    state.chains = chains
    for record in records:
        state.audit[record.tenant_hash, record.sequence] = record


def scan_records(
    state: State, tenant_hash: str | None, after: tuple[int, int, str] | None, limit: int
) -> list[AuditRecord]:
    """As ``Storage.scan_audit_records``."""
    records = state.audit.values()
    if tenant_hash is None:
        at = None if after is None else (after[0], after[2], after[1])
        found = sorted(records, key=_order)
        return [record for record in found if at is None or _order(record) > at][:limit]
    found = sorted((r for r in records if r.tenant_hash == tenant_hash), key=lambda record: record.sequence)
    return [record for record in found if after is None or record.sequence > after[1]][:limit]


def scan_chains(state: State, after: str | None, limit: int) -> list[AuditChain]:
    """As ``Storage.scan_audit_chains``."""
    strays = {tenant: AuditChain(tenant) for tenant, _ in state.audit}
    chains = strays | state.chains
    return [chains[tenant] for tenant in sorted(chains) if after is None or tenant > after][:limit]


def find_old(state: State, before: int, limit: int) -> list[AuditRecord]:
    """The records that may be cut off; of each chain without a gap."""
    old: list[AuditRecord] = []
    for tenant, chain in sorted(state.chains.items()):
        for sequence in range(chain.first, chain.last + 1):
            record = state.audit.get((tenant, sequence))
            if record is None or record.recorded_at >= before or len(old) == limit:
                break
            old.append(record)
    return old


def cut(state: State, old: Iterable[AuditRecord]) -> None:
    """Take away the records that ``find_old`` found, and chains of deleted tenants that have no other."""
    for record in old:
        del state.audit[record.tenant_hash, record.sequence]
        chain = replace(state.chains[record.tenant_hash], first=record.sequence + 1)
        state.chains[record.tenant_hash] = chain
        if chain.first > chain.last and chain.tenant_hash not in (*state.tenants, ""):
            del state.chains[record.tenant_hash]


def _order(record: AuditRecord) -> tuple[int, str, int]:
    return record.recorded_at, record.tenant_hash, record.sequence
