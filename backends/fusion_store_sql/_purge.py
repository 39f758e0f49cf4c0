"""Deleting what has expired."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Table, and_, delete, exists, or_, select, tuple_

from fusion_store_sql import _rows
from fusion_store_sql._database import rows
from fusion_store_sql._marks import raise_signal
from fusion_store_sql._queries import lock_tenant, rewrite
from fusion_store_sql._schema import api_tokens, auth_codes, counters, service_credentials


def purge(connection: Connection, now: int, limit: int) -> dict[str, int]:
    """As ``Storage.purge_records``."""
    purged = {
        "codes": _purge_some(connection, auth_codes, auth_codes.c.expires_at <= now, limit),
        "claims": _purge_claims(connection, now, limit),
        "credentials": _purge_some(connection, service_credentials, service_credentials.c.expires_at <= now, limit),
        "api_tokens": _purge_api_tokens(connection, now, limit),
    }
    if purged["api_tokens"]:
        raise_signal(connection)
    return purged


def _purge_api_tokens(connection: Connection, now: int, limit: int) -> int:
    candidates = connection.execute(
        select(api_tokens.c.hash, api_tokens.c.tenant_hash).where(_purgeable(now)).limit(limit)
    ).all()
    # What the tenants hold may have changed until they are locked.
    for tenant_hash in sorted({candidate.tenant_hash for candidate in candidates}):
        lock_tenant(connection, tenant_hash)
    among_them = api_tokens.c.hash.in_([candidate.hash for candidate in candidates])
    return _purge_some(connection, api_tokens, and_(among_them, _purgeable(now)), limit)


def _purgeable(now: int) -> Any:
    """Expired, of a tenant that has another token, live or later."""
    other = api_tokens.alias()
    live = or_(other.c.expires_at.is_(None), other.c.expires_at > now)
    later = tuple_(other.c.created_at, other.c.hash) > tuple_(api_tokens.c.created_at, api_tokens.c.hash)
    same_tenant = other.c.tenant_hash == api_tokens.c.tenant_hash
    return and_(
        api_tokens.c.expires_at <= now,
        exists().where(same_tenant, other.c.hash != api_tokens.c.hash, or_(live, later)),
    )


def _purge_some(connection: Connection, table: Table, condition: Any, limit: int) -> int:
    key = list(table.primary_key)
    some = connection.execute(select(*key).where(condition).limit(limit).with_for_update(skip_locked=True)).all()
    if some:
        connection.execute(delete(table).where(tuple_(*key).in_([tuple(row) for row in some])))
    return len(some)


def _purge_claims(connection: Connection, now: int, limit: int) -> int:
    ended = select(counters).where(counters.c.claim_deadline <= now).limit(limit).with_for_update(skip_locked=True)
    found = [_rows.counter(row) for row in rows(connection, ended)]
    for record in found:
        rewrite(connection, replace(record, claim_owner=None, claim_deadline=None))
    return len(found)
