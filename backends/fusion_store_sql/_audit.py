"""The audit trail's tables: appending in a change's transaction, reading, and cutting off what is old."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, and_, bindparam, delete, exists, insert, select, union, update
from sqlalchemy.exc import IntegrityError

from fusion_store import CorruptRecord
from fusion_store.backend import AUDIT_MARK, AuditChain, AuditEntry, AuditRecord, extend_chains
from fusion_store_sql._database import rows
from fusion_store_sql._errors import Deadlock
from fusion_store_sql._keyset import Behind
from fusion_store_sql._rows import is_text
from fusion_store_sql._schema import audit_chains, audit_records, marks, tenants

AUDITED: Final = exists().where(marks.c.name == AUDIT_MARK).label("audited")
"""Whether changes are recorded: a column for what a change reads anyway."""

_MOST_PARAMETERS: Final = 900
_UNREADABLE: Final = {"unreadable": 1}
"""Matches no record's hash."""

_LAST_SEQUENCE: Final = 2**63 - 1
"""The largest number that a column holds."""

_encode_detail: Final = msgspec.json.Encoder(order="sorted").encode
_decode_detail: Final = msgspec.json.Decoder(dict[str, int]).decode


def is_audited(connection: Connection) -> bool:
    """Whether changes are recorded, for those that read nothing else."""
    return bool(connection.scalar(select(AUDITED)))


def append(connection: Connection, entries: Iterable[AuditEntry]) -> list[AuditRecord]:
    """Write the records of these entries; no two transactions extend one chain at once.

    ``CorruptRecord`` where the next record stands already: what is left of it isn't written over.
    """
    pending = list(entries)
    chains = _lock_chains(connection, {entry.tenant_hash for entry in pending})
    standing = set(chains)
    records = extend_chains(chains, pending)
    new = [_chain_row(chain) for tenant_hash, chain in sorted(chains.items()) if tenant_hash not in standing]
    if new:
        try:
            connection.execute(insert(audit_chains), new)
        except IntegrityError:
            raise Deadlock("others were beginning the same audit chain") from None
    if standing:
        connection.execute(
            update(audit_chains)
            .where(audit_chains.c.tenant_hash == bindparam("of_chain"))
            .values(last=bindparam("to"), hash=bindparam("by"), recorded_at=bindparam("at")),
            [
                {"of_chain": name, "to": chain.last, "by": chain.hash, "at": chain.recorded_at}
                for name, chain in sorted(chains.items())
                if name in standing
            ],
        )
    if records:
        try:
            connection.execute(insert(audit_records), [_record_row(record) for record in records])
        except IntegrityError:
            tenant_hash = records[0].tenant_hash if len(chains) == 1 else ""
            raise CorruptRecord("audit", tenant_hash=tenant_hash, reason="a chain doesn't end where it says") from None
    return records


def scan_records(
    connection: Connection, tenant_hash: str | None, after: tuple[int, int, str] | None, limit: int
) -> list[AuditRecord]:
    """As ``Storage.scan_audit_records``."""
    columns = audit_records.c
    if tenant_hash is None:
        order = (columns.recorded_at, columns.tenant_hash, columns.sequence)
        query = select(audit_records).order_by(*order)
        if after is not None:
            query = query.where(Behind(order, (after[0], after[2], after[1])))
    else:
        query = select(audit_records).where(columns.tenant_hash == tenant_hash).order_by(columns.sequence)
        if after is not None:
            query = query.where(columns.sequence > after[1])
    return [_record(row) for row in rows(connection, query.limit(limit))]


def scan_chains(connection: Connection, after: str | None, limit: int) -> list[AuditChain]:
    """As ``Storage.scan_audit_chains``."""
    named = union(select(audit_chains.c.tenant_hash), select(audit_records.c.tenant_hash)).subquery()
    query = (
        select(named.c.tenant_hash, *(column for column in audit_chains.c if column.name != "tenant_hash"))
        .select_from(named.outerjoin(audit_chains, audit_chains.c.tenant_hash == named.c.tenant_hash))
        .order_by(named.c.tenant_hash)
        .limit(limit)
    )
    found = rows(connection, query if after is None else query.where(named.c.tenant_hash > after))
    return [_chain(row) for row in found]


def cut(connection: Connection, before: int, limit: int) -> int:
    """As ``Storage.cut_audit_chains``, without the record of it."""
    found = _oldest(connection, before, limit)
    # The store's own chain too, and in order: it is extended by the record of this.
    chains = _lock_chains(connection, {"", *(name for name, _ in found)})
    gone = [(name, sequence) for name, sequence in found if name in chains and sequence >= chains[name].first]
    through = dict(gone)
    if not gone:
        return 0
    connection.execute(
        delete(audit_records).where(
            audit_records.c.tenant_hash == bindparam("of_chain"),
            audit_records.c.sequence.between(bindparam("begin"), bindparam("through")),
        ),
        [{"of_chain": name, "begin": chains[name].first, "through": last} for name, last in through.items()],
    )
    connection.execute(
        update(audit_chains)
        .where(audit_chains.c.tenant_hash == bindparam("of_chain"))
        .values(first=bindparam("begin")),
        [{"of_chain": name, "begin": sequence + 1} for name, sequence in through.items()],
    )
    stands = exists().where(tenants.c.tenant_hash == audit_chains.c.tenant_hash)
    empty = [name for name, sequence in through.items() if name and sequence == chains[name].last]
    for names in _chunks(empty):
        connection.execute(delete(audit_chains).where(audit_chains.c.tenant_hash.in_(names), ~stands))
    return len(gone)


def _oldest(connection: Connection, before: int, limit: int) -> list[tuple[str, int]]:
    """The records that may be cut off, chain by chain; of each chain without a gap."""
    earlier = audit_records.alias()
    newer_first = exists().where(
        earlier.c.tenant_hash == audit_records.c.tenant_hash,
        earlier.c.sequence < audit_records.c.sequence,
        earlier.c.recorded_at >= before,
    )
    in_chain = exists().where(
        audit_chains.c.tenant_hash == audit_records.c.tenant_hash,
        audit_chains.c.first <= audit_records.c.sequence,
    )
    query = (
        select(audit_records.c.tenant_hash, audit_records.c.sequence)
        .where(and_(audit_records.c.recorded_at < before, ~newer_first, in_chain))
        .order_by(audit_records.c.tenant_hash, audit_records.c.sequence)
        .limit(limit)
    )
    return [(row.tenant_hash, row.sequence) for row in connection.execute(query)]


def _lock_chains(connection: Connection, names: set[str]) -> dict[str, AuditChain]:
    """Those of the chains that stand; nobody else extends them before the transaction ends."""
    chains = {}
    # In order, so that two writers don't wait for each other.
    for some in _chunks(sorted(names)):
        name = audit_chains.c.tenant_hash
        query = select(audit_chains).where(name.in_(some)).order_by(name).with_for_update()
        for row in rows(connection, query):
            chains[row["tenant_hash"]] = _chain(row)
    return chains


def _chunks(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + _MOST_PARAMETERS] for start in range(0, len(names), _MOST_PARAMETERS))


def _chain(row: Mapping[str, Any]) -> AuditChain:
    """The chain in a row; one without a row, or altered beyond reading, is empty: all its records lie outside of it."""
    tenant_hash = row["tenant_hash"]
    if not is_text(tenant_hash):
        raise CorruptRecord("audit", reason="a chain without a name")
    try:
        chain = msgspec.convert({name: row[name] for name in AuditChain.__struct_fields__}, AuditChain)
    except msgspec.ValidationError:
        return AuditChain(tenant_hash)
    return chain if is_text(chain.hash) and chain.last < _LAST_SEQUENCE else AuditChain(tenant_hash)


def _chain_row(chain: AuditChain) -> dict[str, Any]:
    return msgspec.structs.asdict(chain)


def _record_row(record: AuditRecord) -> dict[str, Any]:
    return {**msgspec.structs.asdict(record), "detail": _encode_detail(record.detail).decode()}


def _record(row: Mapping[str, Any]) -> AuditRecord:
    """The record in a row; what was altered beyond reading matches no hash."""
    try:
        detail = _decode_detail(row["detail"])
    except (msgspec.MsgspecError, TypeError, UnicodeError):
        detail = _UNREADABLE
    sequence = row["sequence"] if isinstance(row["sequence"], int) else 0
    return AuditRecord(**{**row, "detail": detail, "sequence": sequence})
