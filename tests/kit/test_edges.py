"""The last values that are taken and the first that aren't, and what errors name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from fusion_store import (
    CredentialType,
    InvalidInput,
    OAuthTokenData,
    ServiceCredentials,
    TokenRepository,
    WrongKey,
)
from fusion_store.backend import hash_token
from fusion_store.layers import EncryptedTokenRepository, Key
from fusion_store_memory import MemoryTokenRepository

NOW = datetime(2030, 1, 1, tzinfo=UTC)
REST = datetime.max.replace(tzinfo=UTC) - NOW
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def vault() -> MemoryTokenRepository:
    return MemoryTokenRepository(clock=lambda: NOW)


def test_the_longest_token_has_4096_characters(vault: TokenRepository) -> None:
    assert hash_token("x" * 4096) is not None
    assert hash_token("x" * 4097) is None
    assert vault.validate_api_token("x" * 4096) is None


def test_what_lasts_may_last_to_the_end_of_the_year_9999(vault: TokenRepository) -> None:
    tenant = vault.add_api_token(expires_at=NOW + REST).hash
    vault.store_oauth_token(tenant, "github", OAuthTokenData("access"))
    code = vault.redeem_auth_code(vault.create_auth_code(tenant, "github", ttl=REST))
    assert code is not None
    assert code.expires_at == NOW + REST
    claim = vault.claim_refresh(tenant, "github", ttl=REST)
    assert claim is not None
    assert claim.deadline == NOW + REST

    beyond = REST + MICROSECOND
    refused: dict[str, Callable[[], object]] = {
        "ttl": lambda: vault.create_auth_code(tenant, "github", ttl=beyond),
        "grace": lambda: vault.rotate_api_token(tenant, grace=beyond),
    }
    for field, call in refused.items():
        with pytest.raises(InvalidInput, match="ends after the year 9999") as caught:
            call()
        assert caught.value.field == field


def test_a_time_to_live_is_positive_and_a_grace_may_be_none_at_all(vault: TokenRepository) -> None:
    tenant = vault.add_api_token().hash
    assert vault.create_auth_code(tenant, "github", ttl=MICROSECOND)
    for nothing in (timedelta(0), -MICROSECOND):
        with pytest.raises(InvalidInput, match="must be positive"):
            vault.create_auth_code(tenant, "github", ttl=nothing)
    with pytest.raises(InvalidInput, match="must not be negative"):
        vault.rotate_api_token(tenant, grace=-MICROSECOND)
    assert vault.rotate_api_token(tenant, grace=timedelta(0)).hash != tenant


def test_a_field_that_is_no_text_is_named(vault: TokenRepository) -> None:
    calls: dict[str, list[Callable[[], object]]] = {
        "after": [
            lambda: vault.audit_log(after=5),  # type: ignore[arg-type]
            lambda: vault.list_api_tokens(after=5),  # type: ignore[arg-type]
            lambda: vault.list_tenants(after=5),  # type: ignore[arg-type]
        ],
        "tenant_hash": [
            lambda: vault.list_api_tokens(tenant_hash=5),  # type: ignore[arg-type]
            lambda: vault.audit_log(tenant_hash=5),  # type: ignore[arg-type]
        ],
    }
    for field, wrong in calls.items():
        for call in wrong:
            with pytest.raises(InvalidInput, match="must be a string") as caught:
                call()
            assert caught.value.field == field


def test_a_sealed_payload_read_without_keys_is_named_by_its_place(vault: MemoryTokenRepository) -> None:
    sealed = EncryptedTokenRepository(vault, [Key.generate()])
    tenant = sealed.add_api_token().hash
    sealed.store_oauth_token(tenant, "github", OAuthTokenData("access"))
    sealed.store_credentials(tenant, "mail", ServiceCredentials(CredentialType.API_KEY, {"key": "x"}))

    reads: dict[str, Callable[[], object]] = {
        "github": lambda: vault.get_oauth_token(tenant, "github"),
        "mail": lambda: vault.get_credentials(tenant, "mail", CredentialType.API_KEY),
    }
    for service, read in reads.items():
        with pytest.raises(WrongKey) as caught:
            read()
        assert caught.value.tenant_hash == tenant
        assert caught.value.service == service
        assert caught.value.kind


def test_no_thread_of_the_vault_keeps_a_process_alive(vault: TokenRepository) -> None:
    issued = vault.add_api_token()
    vault.validate_api_token(issued.token)
    own = {thread.name: thread.daemon for thread in threading.enumerate() if thread.name.startswith("fusion-store")}
    vault.close()

    assert own["fusion-store-last-used"]
    assert all(own.values())
