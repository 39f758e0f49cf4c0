"""What the client's storage keeps, per tenant and server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.client.auth import OAuthFlowError
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl, AnyUrl

from fusion_store import (
    AsyncTokenRepository,
    ConfigError,
    CredentialType,
    IssuedToken,
    TenantNotFound,
    TokenRepository,
    get_repository,
)
from fusion_store.integrations.mcp import FusionTokenStorage
from fusion_store.testing import ManualClock

URL = "https://notes.example/mcp"
KINDS: dict[str, Callable[[TokenRepository], Any]] = {"sync": lambda vault: vault, "async": AsyncTokenRepository}
TOKENS = OAuthToken(access_token="at", refresh_token="rt", expires_in=3600, scope="read write")
CLIENT = OAuthClientInformationFull(
    redirect_uris=[AnyUrl("http://127.0.0.1:3000/callback"), AnyUrl("cursor://callback")],
    token_endpoint_auth_method="private_key_jwt",
    grant_types=["authorization_code", "refresh_token", "urn:other"],
    response_types=["code", "none"],
    scope="read write",
    client_name="Notes \u2603\0",
    client_uri=AnyHttpUrl("https://client.example"),
    logo_uri=AnyHttpUrl("https://client.example/logo"),
    contacts=["ada@example.com"],
    tos_uri=AnyHttpUrl("https://client.example/tos"),
    policy_uri=AnyHttpUrl("https://client.example/policy"),
    jwks_uri=AnyHttpUrl("https://client.example/jwks"),
    jwks={"keys": [{"kty": "RSA", "n": 2**70, "deep": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}]},
    software_id="id",
    software_version="1",
    application_type="native",
    client_id="client",
    client_secret="secret",
    client_id_issued_at=1,
    client_secret_expires_at=2,
    issuer="https://issuer.example/",
)


def test_the_example_has_every_field() -> None:
    assert CLIENT.model_fields_set == OAuthClientInformationFull.model_fields.keys()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_field_comes_back_and_nothing_blocks(vault: TokenRepository, ada: IssuedToken, kind: Any) -> None:
    storage = FusionTokenStorage(kind(vault), ada.hash, URL, clock=ManualClock())

    async def run() -> None:
        assert await storage.get_tokens() is None
        assert await storage.get_client_info() is None
        await storage.set_client_info(CLIENT)
        await storage.set_tokens(TOKENS)
        assert await storage.get_client_info() == CLIENT
        assert await storage.get_tokens() == TOKENS

    with blockbuster_ctx():
        asyncio.run(run())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    client=st.builds(
        OAuthClientInformationFull,
        client_id=st.text(min_size=1),
        client_secret=st.none() | st.text(min_size=1),
        client_name=st.none() | st.text(min_size=1),
        scope=st.none() | st.text(min_size=1),
        contacts=st.none() | st.lists(st.text(), min_size=1),
    )
)
def test_whatever_a_server_calls_its_client_comes_back(
    vault: TokenRepository, ada: IssuedToken, client: OAuthClientInformationFull
) -> None:
    storage = FusionTokenStorage(vault, ada.hash, URL)
    asyncio.run(storage.set_client_info(client))
    assert asyncio.run(storage.get_client_info()) == client


def test_what_is_left_of_a_tokens_life_is_told(vault: TokenRepository, ada: IssuedToken) -> None:
    clock = ManualClock()
    storage = FusionTokenStorage(vault, ada.hash, URL, clock=clock)
    asyncio.run(storage.set_tokens(TOKENS))
    for passed, left in ((timedelta(seconds=600), 3000), (timedelta(hours=1), 0)):
        clock.advance(passed)
        tokens = asyncio.run(storage.get_tokens())
        assert tokens is not None
        assert tokens.expires_in == left


@pytest.mark.parametrize("seconds", [None, 0, -3600, 10**30, -(10**30)])
def test_any_lifetime_that_a_server_names_can_be_kept(
    vault: TokenRepository, ada: IssuedToken, seconds: int | None
) -> None:
    storage = FusionTokenStorage(vault, ada.hash, URL)
    asyncio.run(storage.set_tokens(OAuthToken(access_token="at", expires_in=seconds)))
    tokens = asyncio.run(storage.get_tokens())
    assert tokens is not None
    assert (tokens.expires_in is None) is (seconds is None)


def test_tenants_and_servers_are_kept_apart(vault: TokenRepository, ada: IssuedToken) -> None:
    bob = vault.add_api_token("Bob")
    long = "https://notes.example/" + "x" * 300
    places = [
        (ada, URL),
        (bob, URL),
        (ada, f"{URL}/"),
        (ada, "https://other.example/mcp"),
        (ada, long),
        (ada, long + "x"),
    ]
    storages = [FusionTokenStorage(vault, tenant.hash, url) for tenant, url in places]
    for number, storage in enumerate(storages):
        asyncio.run(storage.set_tokens(OAuthToken(access_token=f"at{number}")))
        asyncio.run(storage.set_client_info(CLIENT.model_copy(update={"client_id": f"client{number}"})))
    for number, (tenant, url) in enumerate(places):
        again = FusionTokenStorage(vault, tenant.hash, url)
        tokens, client = asyncio.run(again.get_tokens()), asyncio.run(again.get_client_info())
        assert tokens is not None
        assert client is not None
        assert (tokens.access_token, client.client_id) == (f"at{number}", f"client{number}")


@pytest.mark.parametrize("spelling", ["HTTPS://Notes.Example/mcp", f"{URL}#fragment"])
def test_a_server_is_the_same_however_it_is_spelt(vault: TokenRepository, ada: IssuedToken, spelling: str) -> None:
    asyncio.run(FusionTokenStorage(vault, ada.hash, URL).set_tokens(TOKENS))
    assert asyncio.run(FusionTokenStorage(vault, ada.hash, spelling).get_tokens()) is not None


def test_no_secret_of_a_url_is_in_the_services_name(vault: TokenRepository, ada: IssuedToken) -> None:
    """Names aren't sealed, and stand in metrics and audit records."""
    urls = [
        URL,
        "https://user:canary1@notes.example/mcp",
        f"{URL}?api_key=canary1",
        f"{URL}?api_key=canary2",
        "https://user:canary1@notes.example/mcp?" + "canary" * 50,
    ]
    services = [FusionTokenStorage(vault, ada.hash, url).service for url in urls]
    assert services[0] == URL
    assert all(service.startswith(URL) for service in services)
    assert not [service for service in services if "canary" in service or "user" in service]
    assert len(set(services)) == len(urls)
    assert [FusionTokenStorage(vault, ada.hash, url).service for url in urls] == services


@pytest.mark.parametrize("scope", [" ".join(f"s{number}" for number in range(65)), "s0 " + "x" * 129, "s0 a\0b"])
def test_a_consent_is_kept_whatever_scopes_it_has(vault: TokenRepository, ada: IssuedToken, scope: str) -> None:
    storage = FusionTokenStorage(vault, ada.hash, URL)
    asyncio.run(storage.set_tokens(TOKENS.model_copy(update={"scope": scope})))
    kept = asyncio.run(storage.get_tokens())
    assert kept is not None
    assert kept.scope is not None
    assert kept.refresh_token == TOKENS.refresh_token
    assert set(kept.scope.split()) <= set(scope.split())
    assert "s0" in kept.scope.split()


PUBLIC = CLIENT.model_copy(update={"client_secret": None, "token_endpoint_auth_method": "none"})


def test_without_an_issuer_the_host_says_where_tokens_are_refreshed(vault: TokenRepository, ada: IssuedToken) -> None:
    storage = FusionTokenStorage(vault, ada.hash, URL)
    asyncio.run(storage.set_client_info(PUBLIC.model_copy(update={"issuer": None})))
    with pytest.raises(ConfigError, match="issuer"):
        asyncio.run(storage.service_config())
    named = asyncio.run(storage.service_config(issuer="https://issuer.example"))
    assert (named.issuer, named.token_url) == ("https://issuer.example", None)
    given = asyncio.run(storage.service_config(token_url="https://issuer.example/token"))
    assert (given.issuer, given.token_url) == (None, "https://issuer.example/token")


def test_tokens_are_refreshed_for_what_they_were_asked_for(vault: TokenRepository, ada: IssuedToken) -> None:
    async def run() -> list[str | None]:
        storage = FusionTokenStorage(vault, ada.hash, URL)
        await storage.set_client_info(PUBLIC)
        await storage.set_tokens(TOKENS)
        resources = [(await storage.service_config()).resource]
        await storage.check_resource(URL, "https://notes.example/")
        await storage.set_tokens(TOKENS)
        later = FusionTokenStorage(vault, ada.hash, URL)
        await later.set_tokens(TOKENS)  # the SDK's refresh, which looks for no metadata
        resources.append((await later.service_config()).resource)
        with pytest.raises(OAuthFlowError):
            await later.check_resource(URL, "https://other.example/mcp")
        await later.check_resource(URL, None)
        await later.set_tokens(TOKENS)
        return [*resources, (await later.service_config()).resource]

    assert asyncio.run(run()) == [URL, "https://notes.example/", URL]


def test_what_is_forgotten_is_gone(vault: TokenRepository, ada: IssuedToken) -> None:
    async def run() -> None:
        storage, other = (FusionTokenStorage(vault, ada.hash, url) for url in (URL, f"{URL}2"))
        for each in (storage, other):
            await each.set_client_info(CLIENT)
            await each.set_tokens(TOKENS)
        for _ in range(2):
            await storage.forget()
            assert await storage.get_tokens() is None
            assert await storage.get_client_info() is None
        assert await other.get_tokens() is not None
        assert await other.get_client_info() == CLIENT

    asyncio.run(run())


def test_with_its_tenant_it_goes(vault: TokenRepository, ada: IssuedToken) -> None:
    storage = FusionTokenStorage(vault, ada.hash, URL)
    asyncio.run(storage.set_tokens(TOKENS))
    vault.delete_tenant(ada.hash)
    assert asyncio.run(storage.get_tokens()) is None
    with pytest.raises(TenantNotFound):
        asyncio.run(storage.set_tokens(TOKENS))


def test_secrets_are_sealed_where_the_vault_is(tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    with get_repository(f"sqlite:///{tmp_path}/v.db", encryption_keys=[Fernet.generate_key().decode()]) as vault:
        tenant = vault.add_api_token()
        storage = FusionTokenStorage(vault, tenant.hash, URL)
        asyncio.run(storage.set_tokens(OAuthToken(access_token="at-canary", refresh_token="rt-canary")))
        asyncio.run(storage.set_client_info(CLIENT.model_copy(update={"client_secret": "secret-canary"})))
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"canary" not in kept


def test_a_clients_secret_is_no_part_of_a_configuration(vault: TokenRepository, ada: IssuedToken) -> None:
    storage = FusionTokenStorage(vault, ada.hash, URL)
    asyncio.run(storage.set_client_info(CLIENT))
    with pytest.raises(ConfigError, match="public"):
        asyncio.run(storage.service_config())
    asyncio.run(storage.set_client_info(PUBLIC))
    config = asyncio.run(storage.service_config())
    assert (config.client_id, config.issuer, config.resource) == ("client", "https://issuer.example/", URL)
    assert vault.get_credentials(ada.hash, URL, CredentialType.CUSTOM) is not None
