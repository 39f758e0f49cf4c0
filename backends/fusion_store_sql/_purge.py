"""Deleting what has expired."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import Connection, Table, and_, delete, exists, or_, select, tuple_

from fusion_store import SYSTEM_TENANT
from fusion_store.backend import AuditEntry, Kind, Place, of_purged_place, of_purged_token
from fusion_store_sql import _rows
from fusion_store_sql._database import rows
from fusion_store_sql._marks import raise_signal
from fusion_store_sql._queries import lock_tenant, rewrite
from fusion_store_sql._schema import api_tokens, auth_codes, counters, service_credentials

_NAMES: Final = ("tenant_hash", "service", "credential_type")
"""The columns that an audit record names."""


def purge(
    connection: Connection, now: int, limit: int, audit: AuditEntry | None
) -> tuple[dict[str, int], list[AuditEntry]]:
    """As ``Storage.purge_records``; answers the counts, and given ``audit`` what is to be recorded."""
    codes = _purge_some(connection, auth_codes, auth_codes.c.expires_at <= now, limit, audit)
    claims = _purge_claims(connection, now, limit)
    expired = service_credentials.c.expires_at <= now
    credentials = _purge_some(connection, service_credentials, expired, limit, audit)
    tokens = _purge_api_tokens(connection, now, limit, audit)
    if tokens:
        raise_signal(connection)
    spent = _purge_spent_counters(connection, limit)
    counts = {
        "codes": len(codes),
        "claims": len(claims),
        "credentials": len(credentials),
        "api_tokens": len(tokens),
        "counters": spent,
    }
    if audit is None:
        return counts, []
    entries: list[AuditEntry] = []
    for row in codes:
        entries += of_purged_place(audit, "auth_code.purge", _place(row, Kind.AUTH_CODE))
    for row in credentials:
        entries += of_purged_place(audit, "credentials.purge", _place(row, Kind.CREDENTIAL))
    for place in claims:
        entries += of_purged_place(audit, "refresh.purge", place)
    for row in tokens:
        entries += of_purged_token(audit, row["tenant_hash"], row["hash"])
    return counts, entries


def _place(row: _rows.Row, kind: Kind) -> Place:
    return Place(row["tenant_hash"], kind, row["service"], row.get("credential_type", ""))


def _purge_api_tokens(connection: Connection, now: int, limit: int, audit: AuditEntry | None) -> list[dict[str, Any]]:
    candidates = connection.execute(
        select(api_tokens.c.hash, api_tokens.c.tenant_hash).where(_purgeable(now)).limit(limit)
    ).all()
    # What the tenants hold may have changed until they are locked.
    for tenant_hash in sorted({candidate.tenant_hash for candidate in candidates}):
        lock_tenant(connection, tenant_hash)
    among_them = api_tokens.c.hash.in_([candidate.hash for candidate in candidates])
    return _purge_some(connection, api_tokens, and_(among_them, _purgeable(now)), limit, audit)


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


def _purge_spent_counters(connection: Connection, limit: int) -> int:
    if connection.execute(select(counters.c.service).where(_spent()).limit(1)).first() is None:
        return 0
    # Whoever stores at one of the places meanwhile has to wait.
    lock_tenant(connection, SYSTEM_TENANT)
    return len(_purge_some(connection, counters, _spent(), limit, None))


def _spent() -> Any:
    """Of the system tenant's credentials that are gone."""
    stands = exists().where(*(service_credentials.c[name] == counters.c[name] for name in _NAMES))
    return and_(counters.c.tenant_hash == SYSTEM_TENANT, counters.c.kind == Kind.CREDENTIAL, ~stands)


def _purge_some(
    connection: Connection, table: Table, condition: Any, limit: int, audit: AuditEntry | None
) -> list[dict[str, Any]]:
    """The keys of what was deleted; given ``audit`` with the columns that a record of it names."""
    key = list(table.primary_key)
    wanted = [c for c in table.c if c.primary_key or (audit is not None and c.name in _NAMES)]
    some = rows(connection, select(*wanted).where(condition).limit(limit).with_for_update(skip_locked=True))
    if some:
        keys = [tuple(row[column.name] for column in key) for row in some]
        connection.execute(delete(table).where(tuple_(*key).in_(keys)))
    return some


def _purge_claims(connection: Connection, now: int, limit: int) -> list[Place]:
    ended = select(counters).where(counters.c.claim_deadline <= now).limit(limit).with_for_update(skip_locked=True)
    found = [_rows.counter(row) for row in rows(connection, ended)]
    for record in found:
        rewrite(connection, replace(record, claim_owner=None, claim_deadline=None))
    return [record.place for record in found]
