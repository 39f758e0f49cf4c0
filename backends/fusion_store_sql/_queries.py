"""What the storage operations ask of single rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, and_, insert, select, update

from fusion_store.backend import APITokenRecord, CounterRecord, Place, Record, SecretRecord
from fusion_store_sql import _rows
from fusion_store_sql._database import rows
from fusion_store_sql._schema import api_tokens, counters, tenants


def lock_tenant(connection: Connection, tenant_hash: str) -> bool:
    """Whether the tenant stands; if so it can't be deleted before the transaction ends."""
    query = select(tenants.c.tenant_hash).where(tenants.c.tenant_hash == tenant_hash)
    return connection.scalar(query.with_for_update()) is not None


def find_token(connection: Connection, hash: str) -> APITokenRecord | None:
    """The token with that hash."""
    found = rows(connection, select(api_tokens).where(api_tokens.c.hash == hash))
    return _rows.api_token(found[0]) if found else None


def find_secret(connection: Connection, place: Place) -> SecretRecord | None:
    """The record at a place."""
    table = _rows.SECRET_TABLES[place.kind]
    found = rows(connection, select(table).where(at(table, place)))
    return _rows.secret(found[0], place.kind) if found else None


def find_counter(connection: Connection, place: Place) -> CounterRecord | None:
    """The counters of a place."""
    found = rows(connection, select(counters).where(at(counters, place)))
    return _rows.counter(found[0]) if found else None


def at(table: Table, place: Place) -> Any:
    """The row of a place."""
    return and_(*(table.c[name] == value for name, value in _rows.place_columns(place, table).items()))


def key(record: Record) -> Any:
    """The row that a record stands in, or would."""
    row, table = _rows.to_row(record), _rows.table_of(record)
    return and_(*(column == row[column.name] for column in table.primary_key))


def write(connection: Connection, record: Record, standing: Record | None) -> None:
    """Add a record, or put it over the standing one."""
    if standing is None:
        connection.execute(insert(_rows.table_of(record)), _rows.to_row(record))
    else:
        rewrite(connection, record)


def rewrite(connection: Connection, record: Record) -> None:
    """Put a record over the one that stands there."""
    connection.execute(update(_rows.table_of(record)).where(key(record)).values(_rows.to_row(record)))
