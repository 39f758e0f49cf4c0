"""Many records in one step."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from fusion_store import AlreadyExists, TenantNotFound
from fusion_store.backend import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Record,
    SecretRecord,
    TenantRecord,
    same_content,
)
from fusion_store_sql import _rows
from fusion_store_sql._database import rows
from fusion_store_sql._queries import key, lock_tenant


def insert_records(connection: Connection, records: Sequence[Record]) -> int:
    """As ``Storage.insert_records``, the mode being settled."""
    return sum(_import(connection, record) for record in records)


def replace_payloads(
    connection: Connection, replacements: Sequence[tuple[SecretRecord | AuthCodeRecord, bytes]]
) -> int:
    """As ``Storage.replace_payloads``."""
    return sum(_replace_payload(connection, record, payload) for record, payload in replacements)


def _import(connection: Connection, record: Record) -> bool:
    if not isinstance(record, TenantRecord):
        tenant_hash = record.tenant_hash if isinstance(record, APITokenRecord) else record.place.tenant_hash
        if not lock_tenant(connection, tenant_hash):
            raise TenantNotFound
    standing = _read_again(connection, record)
    if standing is None:
        connection.execute(insert(_rows.table_of(record)), _rows.to_row(record))
    elif not same_content(standing, record):
        raise AlreadyExists("a record of that place stands already, with other content")
    return standing is None


def _replace_payload(connection: Connection, record: SecretRecord | AuthCodeRecord, payload: bytes) -> int:
    table = _rows.table_of(record)
    unchanged = [table.c[name].is_not_distinct_from(value) for name, value in _rows.to_row(record).items()]
    return connection.execute(update(table).where(*unchanged).values(payload=payload)).rowcount


def _read_again(connection: Connection, record: Record) -> Record | None:
    found = rows(connection, select(_rows.table_of(record)).where(key(record)))
    if not found:
        return None
    match record:
        case TenantRecord():
            return _rows.tenant(found[0])
        case APITokenRecord():
            return _rows.api_token(found[0])
        case SecretRecord():
            return _rows.secret(found[0], record.place.kind)
        case CounterRecord():
            return _rows.counter(found[0])
        case AuthCodeRecord():
            return _rows.auth_code(found[0])
