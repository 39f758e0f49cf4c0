"""What the audit trail asks of an SQL database."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fusion_store import CredentialType, OAuthTokenData, ServiceCredentials, get_repository
from fusion_store_sql._sessions import Session, Sessions

HOUR = timedelta(hours=1)
READ_ANYWAY = ("FROM tenants", "FROM auth_codes", "marks.name = 'encryption'")
"""What a change looks at, whether it is recorded or not."""


def test_nothing_is_asked_for_an_audit_that_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    take = Sessions.take

    def traced(self: Sessions, *arguments: Any) -> Session:
        session = take(self, *arguments)
        session.driver.set_trace_callback(seen.append)
        return session

    with get_repository(f"sqlite:///{tmp_path}/vault.db") as repository:
        issued = repository.add_api_token()
        tenant = issued.hash
        code = repository.create_auth_code(tenant, "github", ttl=HOUR)
        monkeypatch.setattr(Sessions, "take", traced)
        repository.add_api_token(tenant_hash=tenant)
        repository.store_oauth_token(tenant, "github", OAuthTokenData("a"))
        claim = repository.claim_refresh(tenant, "github", ttl=HOUR)
        assert claim is not None
        repository.commit_refresh(claim, OAuthTokenData("a"))
        repository.delete_oauth_token(tenant, "github")
        repository.store_credentials(tenant, "mail", ServiceCredentials(CredentialType.API_KEY, {}))
        repository.redeem_auth_code(code)
        repository.rotate_api_token(issued.hash)
        repository.delete_tenant(tenant)

    looks = [" ".join(statement.split()) for statement in seen if "audit" in statement]
    assert len(looks) >= 9
    assert not [look for look in looks if not any(part in look for part in READ_ANYWAY)]
