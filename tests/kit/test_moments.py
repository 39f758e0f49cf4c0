"""All that one operation writes bears one moment, whatever the clock does meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fusion_store import CredentialType, OAuthTokenData, ServiceCredentials
from fusion_store.backend import AUDIT_MARK, AuditSettings, encode_settings
from fusion_store_memory import MemoryTokenRepository

HOUR = timedelta(hours=1)
TOKEN = OAuthTokenData("token")


class RunningClock:
    """Goes on by a microsecond whenever it is read."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now


@pytest.fixture
def vault() -> MemoryTokenRepository:
    opened = MemoryTokenRepository(clock=RunningClock())
    opened.write_mark(AUDIT_MARK, encode_settings(AuditSettings()))
    return opened


def last_moment(vault: MemoryTokenRepository, tenant_hash: str) -> datetime:
    """When the last change of a tenant was made, by its audit trail."""
    return vault.audit_log(tenant_hash=tenant_hash)[-1].at


def test_a_change_and_its_audit_record_bear_the_same_moment(vault: MemoryTokenRepository) -> None:
    issued = vault.add_api_token()
    tenant = issued.metadata.tenant_hash
    made = vault.get_tenant(tenant)
    assert made is not None
    assert issued.metadata.created_at == made.created_at == last_moment(vault, tenant)

    stored = vault.store_oauth_token(tenant, "github", TOKEN)
    assert stored.created_at == stored.updated_at == last_moment(vault, tenant)

    claim = vault.claim_refresh(tenant, "github", ttl=HOUR)
    assert claim is not None
    assert claim.deadline - HOUR == last_moment(vault, tenant)

    assert vault.commit_refresh(claim, TOKEN).updated_at == last_moment(vault, tenant)

    credentials = ServiceCredentials(CredentialType.API_KEY, {"key": "x"})
    assert vault.store_credentials(tenant, "mail", credentials).updated_at == last_moment(vault, tenant)

    code = vault.create_auth_code(tenant, "github", ttl=HOUR)
    made_at = last_moment(vault, tenant)
    redeemed = vault.redeem_auth_code(code)
    assert redeemed is not None
    assert redeemed.expires_at - HOUR == made_at

    rotated = vault.rotate_api_token(issued.hash, grace=HOUR)
    old = vault.get_api_token(issued.hash)
    assert old is not None
    assert old.expires_at is not None
    assert rotated.metadata.created_at == old.expires_at - HOUR == last_moment(vault, tenant)
