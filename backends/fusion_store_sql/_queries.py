"""What the storage operations ask of single rows."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Connection, Table, and_, bindparam, delete, insert, or_, select, update

from fusion_store.backend import APITokenRecord, CounterRecord, Kind, Place, Record, SecretRecord, TenantRecord
from fusion_store_sql import _rows
from fusion_store_sql._audit import AUDITED
from fusion_store_sql._keyset import Behind
from fusion_store_sql._prepared import Prepared
from fusion_store_sql._schema import api_tokens, auth_codes, counters, tenants

_AFTER_ASCII: Final = "\x7f"


def equal(*columns: Column[Any]) -> Any:
    """Each column equal to the parameter of its name."""
    return and_(*(column == _parameter(column.name, column) for column in columns))


def find_by_key(table: Table) -> Prepared:
    """The row of a primary key."""
    key = list(table.primary_key)
    return Prepared(select(table).where(equal(*key)), *(column.name for column in key))


def _parameter(name: str, column: Column[Any]) -> Any:
    return bindparam(name, type_=column.type)


def _begins_with_prefix(column: Column[str]) -> Any:
    # No BETWEEN: PostgreSQL takes no collation in it.
    return and_(column >= _parameter("prefix", column), column <= _parameter("last", column))


def _token_page(*, of_tenant: bool, is_first: bool) -> Prepared:
    query = select(api_tokens).order_by(api_tokens.c.created_at, api_tokens.c.hash)
    if of_tenant:
        query = query.where(equal(api_tokens.c.tenant_hash))
    if not is_first:
        place = (api_tokens.c.created_at, api_tokens.c.hash)
        query = query.where(Behind(place, [_parameter(column.name, column) for column in place]))
    return Prepared(query.limit(bindparam("limit")), "tenant_hash", "created_at", "hash", "limit")


def _insert_both() -> Prepared:
    """A tenant and its first token in one statement; of the known products PostgreSQL alone has such a one."""
    tenant = {column: _parameter(f"made_{column.name}", column) for column in tenants.c}
    made = insert(tenants).values(tenant).cte("made")
    token = {column: _parameter(column.name, column) for column in api_tokens.c}
    names = *(parameter.key for parameter in tenant.values()), *api_tokens.c.keys()
    return Prepared(insert(api_tokens).values(token).add_cte(made), *names)


def _update(table: Table) -> Any:
    changed = {column.name: _parameter(column.name, column) for column in table.c if not column.primary_key}
    return update(table).where(equal(*table.primary_key)).values(changed)


TOKEN: Final = find_by_key(api_tokens)
TOKENS_OF_PREFIX: Final = Prepared(
    select(api_tokens).where(or_(_begins_with_prefix(api_tokens.c.prefix), _begins_with_prefix(api_tokens.c.hash))),
    "prefix",
    "last",
)
SECRET: Final = {kind: find_by_key(table) for kind, table in _rows.SECRET_TABLES.items()}
SECRETS_OF_TENANT: Final = {
    kind: Prepared(select(table).where(equal(table.c.tenant_hash)), "tenant_hash")
    for kind, table in _rows.SECRET_TABLES.items()
}
_TOKEN_PAGES: Final = {
    (of_tenant, is_first): _token_page(of_tenant=of_tenant, is_first=is_first)
    for of_tenant in (False, True)
    for is_first in (False, True)
}
_COUNTER: Final = find_by_key(counters)
_LOCKED_TENANT: Final = Prepared(
    select(tenants.c.tenant_hash, AUDITED).where(equal(tenants.c.tenant_hash)).with_for_update(), "tenant_hash"
)
_TABLES: Final = (tenants, api_tokens, *_rows.SECRET_TABLES.values(), counters, auth_codes)
_INSERT: Final = {table: Prepared(insert(table), *table.c.keys()) for table in _TABLES}
_INSERT_BOTH: Final = _insert_both()
_UPDATE: Final = {table: Prepared(_update(table), *table.c.keys()) for table in _TABLES}
_DELETE: Final = {
    table: Prepared(delete(table).where(equal(*table.primary_key)), *(column.name for column in table.primary_key))
    for table in _TABLES
}


def last_of_prefix(prefix: str) -> str:
    """The last text that may begin with ``prefix`` in a column of letters and digits."""
    return prefix + _AFTER_ASCII


def token_page(tenant_hash: str | None, after: tuple[int, str] | None) -> Prepared:
    """A page of tokens; its parameters are ``tenant_hash``, ``after`` as two of them, and how many."""
    return _TOKEN_PAGES[tenant_hash is not None, after is None]


def secret_key(place: Place) -> tuple[str, ...]:
    """The values of the primary key of a secret's row."""
    if place.kind is Kind.OAUTH:
        return place.tenant_hash, place.service
    return place.tenant_hash, place.service, place.credential_type


class LockedTenant(NamedTuple):
    """Whether a tenant stands, and if so whether changes are audited."""

    stands: bool
    audited: bool


def lock_tenant(connection: Connection, tenant_hash: str) -> LockedTenant:
    """The tenant, which can't be deleted before the transaction ends, if it stands."""
    found = _LOCKED_TENANT.rows(connection, tenant_hash)
    return LockedTenant(stands=bool(found), audited=bool(found and found[0][1]))


def find_token(connection: Connection, hash: str) -> APITokenRecord | None:
    """The token with that hash."""
    found = TOKEN.rows(connection, hash)
    return _rows.api_token(found[0]) if found else None


def find_secret(connection: Connection, place: Place) -> SecretRecord | None:
    """The record at a place."""
    found = SECRET[place.kind].rows(connection, *secret_key(place))
    return _rows.SECRET_READERS[place.kind](found[0]) if found else None


def find_counter(connection: Connection, place: Place) -> CounterRecord | None:
    """The counters of a place."""
    key = (place.tenant_hash, str(place.kind), place.service, place.credential_type)
    found = _COUNTER.rows(connection, *key)
    return _rows.counter(dict(zip(counters.c.keys(), found[0], strict=True))) if found else None


def add(connection: Connection, record: Record) -> None:
    """Add a record."""
    _INSERT[_rows.table_of(record)].run(connection, *_rows.values(record))


def add_tenant(connection: Connection, tenant: TenantRecord, token: APITokenRecord) -> None:
    """Add a tenant with its first token; on PostgreSQL in one round trip."""
    if connection.dialect.name == "postgresql":
        _INSERT_BOTH.run(connection, *_rows.values(tenant), *_rows.values(token))
    else:
        add(connection, tenant)
        add(connection, token)


def rewrite(connection: Connection, record: Record) -> None:
    """Put a record over the one that stands there."""
    _UPDATE[_rows.table_of(record)].run(connection, *_rows.values(record))


def remove(connection: Connection, table: Table, *key: str) -> bool:
    """Whether there was a row with that primary key; it is gone."""
    return bool(_DELETE[table].run(connection, *key))


def write(connection: Connection, record: Record, standing: Record | None) -> None:
    """Add a record, or put it over the standing one."""
    if standing is None:
        add(connection, record)
    else:
        rewrite(connection, record)
