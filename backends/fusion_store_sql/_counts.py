"""How much there is: of a tenant, and of the whole store."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, func, or_, select

from fusion_store import SYSTEM_TENANT, CredentialType, StoreStats
from fusion_store.backend import TenantCounts
from fusion_store_sql import _rows
from fusion_store_sql._database import rows
from fusion_store_sql._schema import HEAD, api_tokens, oauth_tokens, service_credentials, tenants


def read_tenant(connection: Connection, tenant_hash: str, now: int) -> TenantCounts | None:
    """As ``Storage.read_tenant``."""
    found = rows(connection, _of_tenants(now).where(tenants.c.tenant_hash == tenant_hash))
    return _counts(found[0]) if found else None


def scan_tenants(connection: Connection, after: str | None, limit: int, now: int) -> list[TenantCounts]:
    """As ``Storage.scan_tenants``."""
    query = _of_tenants(now).where(tenants.c.tenant_hash != SYSTEM_TENANT)
    if after is not None:
        query = query.where(tenants.c.tenant_hash > after)
    return [_counts(row) for row in rows(connection, query.order_by(tenants.c.tenant_hash).limit(limit))]


def count_records(connection: Connection, now: int, *, bytes_on_disk: int) -> StoreStats:
    """As ``Storage.count_records``."""
    present = _present(now)
    by_service = select(oauth_tokens.c.service, func.count()).group_by(oauth_tokens.c.service)
    kind = service_credentials.c.credential_type
    by_type = select(kind, func.count()).where(present).group_by(kind)
    return StoreStats(
        tenants=connection.scalars(select(func.count()).select_from(tenants)).one() - 1,
        api_tokens=connection.scalars(select(func.count()).select_from(api_tokens)).one(),
        oauth_tokens={str(row[0]): row[1] for row in connection.execute(by_service)},
        credentials={
            CredentialType(row[0]): row[1] for row in connection.execute(by_type) if row[0] in set(CredentialType)
        },
        bytes_on_disk=bytes_on_disk,
        schema_version=HEAD,
    )


def _of_tenants(now: int) -> Any:
    def count(table: Table, *conditions: Any) -> Any:
        of_tenant = table.c.tenant_hash == tenants.c.tenant_hash
        return select(func.count()).select_from(table).where(of_tenant, *conditions).scalar_subquery()

    return select(
        tenants,
        count(api_tokens).label("api_tokens"),
        count(oauth_tokens).label("oauth_tokens"),
        count(service_credentials, _present(now)).label("credentials"),
    )


def _counts(row: dict[str, Any]) -> TenantCounts:
    return TenantCounts(
        _rows.tenant(row),
        api_tokens=row["api_tokens"],
        oauth_tokens=row["oauth_tokens"],
        credentials=row["credentials"],
    )


def _present(now: int) -> Any:
    expires_at = service_credentials.c.expires_at
    return or_(expires_at.is_(None), expires_at > now)
