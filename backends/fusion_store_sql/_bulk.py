"""Many records in one step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from fusion_store import TenantNotFound
from fusion_store.backend import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Record,
    Resolve,
    SecretRecord,
    TenantRecord,
    refuse_conflict,
    tenant_of,
)
from fusion_store_sql import _rows
from fusion_store_sql import _schema as schema
from fusion_store_sql._database import rows
from fusion_store_sql._errors import Deadlock
from fusion_store_sql._marks import raise_signal
from fusion_store_sql._queries import rewrite

_MOST_PARAMETERS: Final = 900
"""Of one statement; SQLite may be built to allow no more than 999."""

_READERS: Final[dict[Table, Callable[[_rows.Row], Record]]] = {
    schema.tenants: _rows.tenant,
    schema.api_tokens: _rows.by_name(_rows.api_token),
    schema.oauth_tokens: _rows.by_name(_rows.oauth_token),
    schema.service_credentials: _rows.by_name(_rows.credential),
    schema.counters: _rows.counter,
    schema.auth_codes: _rows.auth_code,
}
"""What each table holds, tenants first: the other tables refer to them."""

_Key = tuple[str, ...]
_Written = dict[Table, dict[_Key, Record]]


def insert_records(
    connection: Connection, records: Sequence[Record], resolve: Resolve = refuse_conflict
) -> list[Record]:
    """As ``Storage.insert_records``, the mode being settled; answers what was written."""
    keyed = [(_rows.table_of(record), _key(record), record) for record in records]
    tenants = _lock_tenants(connection, records)
    standing = _find_standing(connection, keyed)
    added, replaced = defaultdict[Table, dict[_Key, Record]](dict), defaultdict[Table, dict[_Key, Record]](dict)
    for table, key, record in keyed:
        tenant_hash = tenant_of(record)
        if isinstance(record, TenantRecord):
            tenants.add(tenant_hash)
        elif tenant_hash not in tenants:
            raise TenantNotFound
        there = added[table].get(key) or replaced[table].get(key) or standing[table].get(key)
        answer = record if there is None else resolve(there, record)
        if answer is not None:
            (replaced if key in standing[table] else added)[table][key] = answer
    try:
        _insert(connection, added)
        _replace(connection, replaced)
    except IntegrityError:
        # Another one has added the same, or deleted a tenant: looked up again, the rule decides.
        raise Deadlock("others were adding the same records") from None
    return [record for written in (added, replaced) for table in written.values() for record in table.values()]


def replace_payloads(
    connection: Connection, replacements: Sequence[tuple[SecretRecord | AuthCodeRecord, bytes]]
) -> int:
    """As ``Storage.replace_payloads``."""
    return sum(_replace_payload(connection, record, payload) for record, payload in replacements)


def _replace_payload(connection: Connection, record: SecretRecord | AuthCodeRecord, payload: bytes) -> int:
    table = _rows.table_of(record)
    unchanged = [table.c[name].is_not_distinct_from(value) for name, value in _rows.to_row(record).items()]
    return connection.execute(update(table).where(*unchanged).values(payload=payload)).rowcount


def _lock_tenants(connection: Connection, records: Sequence[Record]) -> set[str]:
    """Those tenants of the records that stand; they can't be deleted before the transaction ends."""
    hash = schema.tenants.c.tenant_hash
    found = set[str]()
    # In order, so that two writers don't wait for each other.
    for hashes in _chunks(sorted({tenant_of(record) for record in records}), _MOST_PARAMETERS):
        found.update(connection.scalars(select(hash).where(hash.in_(hashes)).order_by(hash).with_for_update()))
    return found


def _find_standing(
    connection: Connection, keyed: Iterable[tuple[Table, _Key, Record]]
) -> defaultdict[Table, dict[_Key, Record]]:
    """What stands where the records belong."""
    wanted = defaultdict[Table, set[_Key]](set)
    for table, key, _ in keyed:
        wanted[table].add(key)
    standing = defaultdict[Table, dict[_Key, Record]](dict)
    for table in filter(wanted.__contains__, _READERS):
        columns = list(table.primary_key)
        for keys in _chunks(sorted(wanted[table]), _MOST_PARAMETERS // len(columns)):
            # Column by column, which may find more: SQLite compares whole keys with every row of the table.
            near = (
                column.in_(sorted(set(values))) for column, values in zip(columns, zip(*keys, strict=True), strict=True)
            )
            # Locked, and in order: a token's last use may be written meanwhile, without its tenant's lock.
            query = select(table).where(*near).order_by(*columns).with_for_update()
            for row in rows(connection, query):
                key = tuple(row[column.name] for column in columns)
                if key in wanted[table]:
                    standing[table][key] = _READERS[table](row)
    return standing


def _insert(connection: Connection, added: _Written) -> None:
    for table in filter(added.get, _READERS):
        connection.execute(insert(table), [_rows.to_row(record) for record in added[table].values()])


def _replace(connection: Connection, replaced: _Written) -> None:
    for records in replaced.values():
        for record in records.values():
            rewrite(connection, record)
    if any(isinstance(record, APITokenRecord) for records in replaced.values() for record in records.values()):
        raise_signal(connection)


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def _key(record: Record) -> _Key:
    """The values of the primary key, in its order."""
    match record:
        case TenantRecord():
            return (record.tenant_hash,)
        case APITokenRecord() | AuthCodeRecord():
            return (record.hash,)
        case CounterRecord(place=place):
            return place.tenant_hash, str(place.kind), place.service, place.credential_type
        case SecretRecord(place=place) if place.kind is Kind.OAUTH:
            return place.tenant_hash, place.service
        case SecretRecord(place=place):
            return place.tenant_hash, place.service, place.credential_type
