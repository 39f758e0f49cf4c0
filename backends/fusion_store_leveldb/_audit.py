"""The audit trail in the database: its values, appending with a change, reading, and cutting off what is old."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from itertools import groupby, islice
from typing import Annotated, Final

import msgspec

from fusion_store import CorruptRecord
from fusion_store.backend import AUDIT_MARK, AuditChain, AuditEntry, AuditRecord, extend_chains
from fusion_store_leveldb import _codec as codec
from fusion_store_leveldb import _keys as keys
from fusion_store_leveldb import _rows as rows
from fusion_store_leveldb._session import Changes, View


class _Chain(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    first: int
    last: Annotated[int, msgspec.Meta(ge=0, lt=2**63 - 1)]
    hash: str
    recorded_at: int


class _Record(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    recorded_at: int
    action: str
    actor: str
    outcome: str
    service: str
    credential_type: str
    token_id: str
    key_id: str
    detail: dict[str, int]
    previous: str
    hash: str


_UNREADABLE: Final = _Record(0, "", "", "", "", "", "", "", {}, "", "unreadable")
"""Stands for what was altered beyond reading: its hash is none."""

_encode: Final = msgspec.msgpack.Encoder().encode
_read_chain: Final = msgspec.msgpack.Decoder(_Chain).decode
_read_record: Final = msgspec.msgpack.Decoder(_Record).decode


def is_audited(view: View) -> bool:
    """Whether changes are recorded."""
    return rows.read_mark(view, AUDIT_MARK) is not None


def append(
    changes: Changes, view: View, entries: Iterable[AuditEntry], moved: Mapping[str, AuditChain] | None = None
) -> list[AuditRecord]:
    """Add the records of these entries to a change; the caller holds the locks of their chains.

    ``CorruptRecord`` where the next record stands already: what is left of it isn't written over.
    ``moved``: chains that the same change has moved already.
    """
    pending, known = list(entries), moved or {}
    chains = {
        name: chain
        for name in {entry.tenant_hash for entry in pending}
        if (chain := known.get(name) or _find_chain(view, name)) is not None
    }
    records = extend_chains(chains, pending)
    for chain in chains.values():
        _put_chain(changes, chain)
    for record in records:
        value = _Record(*(getattr(record, field) for field in _Record.__struct_fields__))
        key = keys.audit_record(record.tenant_hash, record.sequence)
        if view.get(key) is not None:
            reason = "a chain doesn't end where it says"
            raise CorruptRecord("audit", tenant_hash=record.tenant_hash, reason=reason)
        changes.put(key, codec.encode_bytes(_encode(value)))
        changes.put(keys.audit_time(record.recorded_at, record.tenant_hash, record.sequence), b"")
    return records


def scan_records(view: View, tenant_hash: str | None, after: tuple[int, int, str] | None) -> Iterator[AuditRecord]:
    """As ``Storage.scan_audit_records``, all of them."""
    if tenant_hash is not None:
        for key, value in view.scan(keys.audit_behind(tenant_hash, None if after is None else after[1])):
            yield _record(key, value)
        return
    for entry, _ in view.scan(keys.audit_times_behind(after)):
        _, name, sequence = keys.read_audit_time(entry)
        key = keys.audit_record(name, sequence)
        found = view.get(key)
        if found is not None:
            yield _record(key, found)


def scan_chains(view: View, after: str | None) -> Iterator[AuditChain]:
    """As ``Storage.scan_audit_chains``, all of them."""
    start = keys.AUDIT_CHAINS.start if after is None else keys.audit_chain(after) + b"\0"
    known = (_chain(key, value) for key, value in view.scan(keys.Range(start, keys.AUDIT_CHAINS.stop)))
    strays = (AuditChain(name) for name in _chains_of_records(view, after))
    for name, same in groupby(merge(known, strays, key=_name), key=_name):
        if after is None or name > after:
            yield next(same)


def time_entry(key: bytes, value: bytes) -> bytes | None:
    """The index entry of a record; None for one that can't be read, which is found in its chain."""
    record = _record(key, value)
    try:
        entry = keys.audit_time(record.recorded_at, record.tenant_hash, record.sequence)
    except OverflowError:
        return None
    return None if record.hash == _UNREADABLE.hash else entry


def find_old(view: View, before: int, limit: int) -> list[str]:
    """The chains whose oldest records may be cut off, up to ``limit`` records."""
    found = dict[str, int]()
    for entry, _ in view.scan(keys.audit_times_before(before)):
        name = keys.read_audit_time(entry)[1]
        if name not in found:
            found[name] = len(_oldest(view, name, before, limit))
        if sum(found.values()) >= limit:
            break
    return [name for name, count in found.items() if count]


def cut(
    changes: Changes, view: View, names: Iterable[str], before: int, limit: int
) -> tuple[int, dict[str, AuditChain]]:
    """Delete the oldest records of these chains, whose locks are held; answers how many, and what is left."""
    count, moved = 0, dict[str, AuditChain]()
    for name in names:
        chain, old = _find_chain(view, name), _oldest(view, name, before, limit - count)
        if chain is None or not old:
            continue
        for record in old:
            changes.delete(keys.audit_record(name, record.sequence))
            changes.delete(keys.audit_time(record.recorded_at, name, record.sequence))
        count += len(old)
        moved[name] = rest = msgspec.structs.replace(chain, first=old[-1].sequence + 1)
        if name and rest.first > rest.last and not rows.has_tenant(view, name):
            changes.delete(keys.audit_chain(name))
        else:
            _put_chain(changes, rest)
    return count, moved


def _oldest(view: View, name: str, before: int, limit: int) -> list[AuditRecord]:
    chain, old = _find_chain(view, name), list[AuditRecord]()
    if chain is None:
        return old
    for record in islice(scan_records(view, name, (0, chain.first - 1, name)), limit):
        if record.recorded_at >= before or record.sequence != chain.first + len(old):
            break
        old.append(record)
    return old


def _chains_of_records(view: View, after: str | None) -> Iterator[str]:
    """The chains that have records, stepping over these."""
    start = keys.AUDIT_RECORDS.start if after is None else keys.audit_behind(after, None).stop
    while (entry := next(view.scan(keys.Range(start, keys.AUDIT_RECORDS.stop)), None)) is not None:
        name, _ = keys.read_audit_record(entry[0])
        yield name
        # A key that isn't one of ours may lie behind where its name leads.
        start = max(keys.audit_behind(name, None).stop, entry[0] + b"\0")


def _name(chain: AuditChain) -> str:
    return chain.tenant_hash


def _find_chain(view: View, name: str) -> AuditChain | None:
    key = keys.audit_chain(name)
    value = view.get(key)
    return None if value is None else _chain(key, value)


def _put_chain(changes: Changes, chain: AuditChain) -> None:
    value = _Chain(chain.first, chain.last, chain.hash, chain.recorded_at)
    changes.put(keys.audit_chain(chain.tenant_hash), codec.encode_bytes(_encode(value)))


def _chain(key: bytes, value: bytes) -> AuditChain:
    name = keys.read_audit_chain(key)
    try:
        chain = _read_chain(codec.decode_bytes(value, "audit"))
    except (CorruptRecord, msgspec.MsgspecError, UnicodeDecodeError):
        # An empty chain: all its records lie outside of it.
        return AuditChain(name)
    return AuditChain(name, **msgspec.structs.asdict(chain))


def _record(key: bytes, value: bytes) -> AuditRecord:
    name, sequence = keys.read_audit_record(key)
    try:
        read = _read_record(codec.decode_bytes(value, "audit"))
    except (CorruptRecord, msgspec.MsgspecError, UnicodeDecodeError):
        read = _UNREADABLE
    return AuditRecord(tenant_hash=name, sequence=sequence, **msgspec.structs.asdict(read))
