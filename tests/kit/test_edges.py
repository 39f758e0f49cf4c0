"""The last values that are taken and the first that aren't, and what errors name."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from fusion_store import (
    SYSTEM_TENANT,
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
LATE = datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))
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


def _deep(levels: int) -> dict[str, Any]:
    return {"a": _deep(levels - 1)} if levels else {}


def _key(data: Any) -> ServiceCredentials:
    return ServiceCredentials(CredentialType.API_KEY, data)


Refusal = tuple[str, str, Callable[[Any, str], object]]
REFUSALS: list[Refusal] = [
    ("description", "must be a string", lambda vault, _: vault.add_api_token(5)),
    ("description", "must not contain NUL", lambda vault, _: vault.add_api_token("a\0")),
    ("description", "must not contain surrogates", lambda vault, _: vault.add_api_token("\ud800")),
    ("description", "must have 0 to 256 characters, has 257", lambda vault, _: vault.add_api_token("x" * 257)),
    ("tenant_hash", "the system tenant has no", lambda vault, _: vault.add_api_token(tenant_hash=SYSTEM_TENANT)),
    ("tenant_hash", "can't be deleted", lambda vault, _: vault.delete_tenant(SYSTEM_TENANT)),
    ("tenant_hash", "must be a string", lambda vault, _: vault.list_api_tokens(tenant_hash=5)),
    ("tenant_hash", "must be a string", lambda vault, _: vault.audit_log(tenant_hash=5)),
    ("scopes", "must be a sequence of strings", lambda vault, _: vault.add_api_token(scopes="read")),
    ("scopes", "must have at most 64 entries, has 65", lambda vault, _: vault.add_api_token(scopes=["a"] * 65)),
    ("scopes", "must have 1 to 128 characters, has 0", lambda vault, _: vault.add_api_token(scopes=[""])),
    ("scopes", "must not contain white space or control", lambda vault, _: vault.add_api_token(scopes=["a b"])),
    ("scopes", "must not contain white space or control", lambda vault, _: vault.add_api_token(scopes=["a\x01b"])),
    ("expires_at", "must be a datetime", lambda vault, _: vault.add_api_token(expires_at=5)),
    ("expires_at", "must have a time zone", lambda vault, _: vault.add_api_token(expires_at=datetime(2030, 1, 1))),
    ("expires_at", "is outside the years 1 to 9999 UTC", lambda vault, _: vault.add_api_token(expires_at=LATE)),
    ("service", "must have 1 to 255 bytes of UTF-8", lambda vault, t: vault.get_oauth_token(t, "")),
    ("service", "must have 1 to 255 bytes of UTF-8", lambda vault, t: vault.get_oauth_token(t, "é" * 128)),
    ("service", "must not begin or end with white", lambda vault, t: vault.get_oauth_token(t, " a")),
    ("service", "must not contain control", lambda vault, t: vault.get_oauth_token(t, "a\x01b")),
    ("service", "normalization form C", lambda vault, t: vault.get_oauth_token(t, "e\u0301")),
    ("credential_type", "must be one of api_key", lambda vault, t: vault.get_credentials(t, "mail", "x")),
    ("ttl", "must be a timedelta", lambda vault, t: vault.create_auth_code(t, "github", ttl=5)),
    ("limit", "must be a whole number from 1 to 1000000", lambda vault, _: vault.list_api_tokens(limit=0)),
    ("after", "must be a string", lambda vault, _: vault.list_api_tokens(after=5)),
    ("after", "must be a string", lambda vault, _: vault.list_tenants(after=5)),
    ("after", "must be a string", lambda vault, _: vault.audit_log(after=5)),
    ("after", "must be the cursor of a listed token", lambda vault, _: vault.list_api_tokens(after="x")),
    ("after", "must be the cursor of a listed tenant", lambda vault, _: vault.list_tenants(after="x")),
    ("after", "must be the cursor of a listed audit record", lambda vault, _: vault.audit_log(after="x")),
    ("prefix", "must have at least 4 characters", lambda vault, _: vault.find_api_tokens("abc")),
    ("token", "must be an OAuthTokenData", lambda vault, t: vault.store_oauth_token(t, "github", "access")),
    ("access_token", "must have 1 to 65536", lambda vault, t: vault.store_oauth_token(t, "a", OAuthTokenData(""))),
    (
        "expires_at",
        "must have a time zone",
        lambda vault, t: vault.store_oauth_token(t, "a", OAuthTokenData("a", expires_at=datetime(2030, 1, 1))),
    ),
    (
        "expected_version",
        "must be a whole number from 0, or None",
        lambda vault, t: vault.store_oauth_token(t, "a", OAuthTokenData("a"), expected_version=-1),
    ),
    (
        "metadata",
        "must be a mapping of strings to strings",
        lambda vault, t: vault.store_oauth_token(t, "a", OAuthTokenData("a", metadata=5)),  # type: ignore[arg-type]
    ),
    (
        "metadata",
        "must have at most 16384 bytes as JSON",
        lambda vault, t: vault.store_oauth_token(t, "a", OAuthTokenData("a", metadata={"a": "x" * 16384})),
    ),
    ("data", "must be a JSON object (a dict)", lambda vault, t: vault.store_credentials(t, "a", _key([]))),
    (
        "data",
        "must have at most 65536 bytes",
        lambda vault, t: vault.store_credentials(t, "a", _key({"a": "x" * 65536})),
    ),
    ("data", "must be at most 16 deep", lambda vault, t: vault.store_credentials(t, "a", _key(_deep(16)))),
    ("data", "must not contain NaN", lambda vault, t: vault.store_credentials(t, "a", _key({"a": float("nan")}))),
    ("data", "beyond 64 bits", lambda vault, t: vault.store_credentials(t, "a", _key({"a": 2**63}))),
    ("data", "plain JSON values only", lambda vault, t: vault.store_credentials(t, "a", _key({"a": object()}))),
]


@pytest.mark.parametrize(("field", "reason", "call"), REFUSALS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_refusal_names_the_field_and_says_why(
    vault: TokenRepository, field: str, reason: str, call: Callable[[Any, str], object]
) -> None:
    tenant = vault.add_api_token().hash
    before = list(vault.export_records())

    with pytest.raises(InvalidInput, match=re.escape(reason)) as caught:
        call(vault, tenant)

    assert caught.value.field == field
    assert list(vault.export_records()) == before


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


def test_the_thread_that_writes_last_uses_keeps_no_process_alive(vault: TokenRepository) -> None:
    vault.validate_api_token(vault.add_api_token().token)

    threads = [thread for thread in threading.enumerate() if thread.name == "fusion-store-last-used"]
    vault.close()
    assert threads
    assert all(thread.daemon for thread in threads)
