"""The provider's methods as the SDK's handlers call them; what is kept, and where."""

from __future__ import annotations

import asyncio
import logging
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from blockbuster import blockbuster_ctx
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.server.auth.provider import AuthorizationParams, RegistrationError, TokenError
from mcp.shared.auth import OAuthClientInformationFull
from pydantic import AnyUrl

from fusion_store import (
    AsyncTokenRepository,
    AuthError,
    InvalidInput,
    IssuedToken,
    TenantNotFound,
    TokenRepository,
    get_repository,
)
from fusion_store.integrations.mcp import ConsentRequest, FusionAuthorizationServer
from tests.integrations.mcp.sdk_plugin import LEFT_OUT

KINDS: dict[str, Callable[[TokenRepository], Any]] = {"sync": lambda vault: vault, "async": AsyncTokenRepository}
CALLBACK = "https://client.example/callback"
PARAMS = AuthorizationParams(
    state="state-canary",
    scopes=["read"],
    code_challenge="challenge",
    redirect_uri=AnyUrl(CALLBACK),
    redirect_uri_provided_explicitly=True,
    resource=None,
)
CLIENT = OAuthClientInformationFull(
    client_id="client", client_secret="client-secret-canary", redirect_uris=[AnyUrl(CALLBACK)], scope="read write"
)


async def the_ticket(request: ConsentRequest) -> str:
    """For hosts whose page is the test: the "URL" is the ticket."""
    return request.ticket


def make(vault: TokenRepository | AsyncTokenRepository) -> FusionAuthorizationServer:
    return FusionAuthorizationServer(vault, the_ticket)


def code_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["code"][0]


async def use(server: FusionAuthorizationServer, tenant_hash: str) -> list[str]:
    """Each method in its turn; answers the secrets that were given out."""
    await server.register_client(CLIENT)
    client = await server.get_client("client")
    assert client == CLIENT
    code = code_in(await server.approve(await server.authorize(client, PARAMS), tenant_hash))
    taken = await server.load_authorization_code(client, code)
    assert taken is not None
    first = await server.exchange_authorization_code(client, taken)
    assert first.refresh_token is not None
    loaded = await server.load_refresh_token(client, first.refresh_token)
    assert loaded is not None
    second = await server.exchange_refresh_token(client, loaded, ["read"])
    assert second.refresh_token is not None
    access = await server.load_access_token(second.access_token)
    assert access is not None
    return [code, first.access_token, first.refresh_token, second.access_token, second.refresh_token]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_nothing_blocks_the_loop(vault: TokenRepository, ada: IssuedToken, kind: Any) -> None:
    server = make(kind(vault))

    async def run() -> None:
        secrets = await use(server, ada.hash)
        access = await server.load_access_token(secrets[3])
        assert access is not None
        await server.revoke_token(access)
        assert await server.load_access_token(secrets[3]) is None

    with blockbuster_ctx():
        asyncio.run(run())


@pytest.mark.parametrize("is_sealed", [False, True], ids=["plain", "sealed"])
def test_no_secret_is_kept_in_the_clear(tmp_path: Path, caplog: pytest.LogCaptureFixture, is_sealed: bool) -> None:
    caplog.set_level(logging.DEBUG, "fusion_store")
    keys = [Fernet.generate_key().decode()] if is_sealed else None
    with get_repository(f"sqlite:///{tmp_path}/vault.db", encryption_keys=keys) as vault:
        ada = vault.add_api_token()
        server = make(vault)
        secrets = asyncio.run(use(server, ada.hash))
        assert asyncio.run(server.load_refresh_token(CLIENT, secrets[2])) is None  # spent
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    hidden = [*secrets, *[secret[-43:] for secret in secrets]]
    if is_sealed:
        hidden += ["client-secret-canary", "state-canary"]
    else:
        assert b"client-secret-canary" in kept
    assert not [secret for secret in hidden if secret.encode() in kept]
    assert "was used again" in caplog.text
    assert not [secret for secret in secrets if secret in caplog.text]


def test_every_process_opens_the_tickets_of_every_other(vault: TokenRepository, ada: IssuedToken) -> None:
    async def run() -> None:
        servers = [make(vault) for _ in range(4)]
        await servers[0].register_client(CLIENT)
        tickets = await asyncio.gather(*[server.authorize(CLIENT, PARAMS) for server in servers])
        for server in servers:
            for ticket in tickets:
                assert code_in(await server.approve(ticket, ada.hash))

    asyncio.run(run())


def test_asking_leaves_nothing_in_the_store(vault: TokenRepository, ada: IssuedToken) -> None:
    server = make(vault)
    asyncio.run(server.register_client(CLIENT))
    asyncio.run(server.authorize(CLIENT, PARAMS))
    before = list(vault.export_records())
    for _ in range(3):
        asyncio.run(server.pending(asyncio.run(server.authorize(CLIENT, PARAMS))))
    assert list(vault.export_records()) == before


def test_a_user_may_consent_to_less_but_not_to_more(vault: TokenRepository, ada: IssuedToken) -> None:
    async def run() -> None:
        server = make(vault)
        await server.register_client(CLIENT)
        ticket = await server.authorize(CLIENT, PARAMS.model_copy(update={"scopes": None}))
        code = code_in(await server.approve(ticket, ada.hash, scopes=["write"]))
        taken = await server.load_authorization_code(CLIENT, code)
        assert taken is not None
        assert taken.scopes == ["write"]
        with pytest.raises(InvalidInput, match="scopes"):
            await server.approve(ticket, ada.hash, scopes=["write", "admin"])
        with pytest.raises(TenantNotFound):
            await server.approve(ticket, "0" * 63 + "1")

    asyncio.run(run())


def test_a_code_that_is_used_again_before_its_first_exchange_ends_is_good_for_nothing(
    vault: TokenRepository, ada: IssuedToken
) -> None:
    async def run() -> None:
        server = make(vault)
        await server.register_client(CLIENT)
        code = code_in(await server.approve(await server.authorize(CLIENT, PARAMS), ada.hash))
        taken = await server.load_authorization_code(CLIENT, code)
        assert taken is not None
        assert await server.load_authorization_code(CLIENT, code) is None
        with pytest.raises(TokenError) as refused:
            await server.exchange_authorization_code(CLIENT, taken)
        assert refused.value.error == "invalid_grant"
        assert vault.list_credentials(ada.hash) == {}

    asyncio.run(run())


def test_a_code_is_good_for_no_other_tenant(vault: TokenRepository, ada: IssuedToken) -> None:
    eve = vault.add_api_token("Eve")

    async def run() -> None:
        server = make(vault)
        await server.register_client(CLIENT)
        eves = code_in(await server.approve(await server.authorize(CLIENT, PARAMS), eve.hash))
        adas = code_in(await server.approve(await server.authorize(CLIENT, PARAMS), ada.hash))
        assert await server.load_authorization_code(CLIENT, adas[:43] + eves[43:]) is None

    asyncio.run(run())


def test_a_code_of_the_vault_that_is_for_something_else_is_none(vault: TokenRepository, ada: IssuedToken) -> None:
    code = vault.create_auth_code(ada.hash, "notes", ttl=timedelta(minutes=5))
    text = urlsafe_b64encode(bytes.fromhex(ada.hash)).decode().rstrip("=") + code
    assert asyncio.run(make(vault).load_authorization_code(CLIENT, text)) is None


@pytest.mark.parametrize("scope", ["a\0b", 'a"b', "read é"])
def test_a_scope_that_is_no_scope_is_refused_at_registration(vault: TokenRepository, scope: str) -> None:
    with pytest.raises(RegistrationError) as refused:
        asyncio.run(make(vault).register_client(CLIENT.model_copy(update={"scope": scope})))
    assert refused.value.error == "invalid_client_metadata"


def test_more_scopes_than_a_token_can_have_are_the_clients_error(vault: TokenRepository, ada: IssuedToken) -> None:
    async def run() -> None:
        server = make(vault)
        await server.register_client(CLIENT)
        params = PARAMS.model_copy(update={"scopes": [f"s{number}" for number in range(65)]})
        taken = await server.load_authorization_code(
            CLIENT, code_in(await server.approve(await server.authorize(CLIENT, params), ada.hash))
        )
        assert taken is not None
        with pytest.raises(TokenError) as refused:
            await server.exchange_authorization_code(CLIENT, taken)
        assert refused.value.error == "invalid_scope"
        again = code_in(await server.approve(await server.authorize(CLIENT, PARAMS), ada.hash))
        taken = await server.load_authorization_code(CLIENT, again)
        assert taken is not None
        tokens = await server.exchange_authorization_code(CLIENT, taken)
        assert tokens.refresh_token is not None
        refresh = await server.load_refresh_token(CLIENT, tokens.refresh_token)
        assert refresh is not None
        assert params.scopes is not None
        with pytest.raises(TokenError) as refused:
            await server.exchange_refresh_token(CLIENT, refresh, params.scopes)
        assert refused.value.error == "invalid_scope"

    asyncio.run(run())


def test_a_ticket_that_was_not_made_here_is_none(vault: TokenRepository, ada: IssuedToken, tmp_path: Path) -> None:
    async def run(foreign: TokenRepository) -> None:
        server = make(vault)
        await server.register_client(CLIENT)
        good = await server.authorize(CLIENT, PARAMS)
        for ticket in ("", "x", "é", good[:-4], good[:-5] + "AAAA=", await make(foreign).authorize(CLIENT, PARAMS)):
            assert await server.pending(ticket) is None
            for answer in (server.approve(ticket, ada.hash), server.deny(ticket)):
                with pytest.raises(AuthError):
                    await answer

    with get_repository(f"sqlite:///{tmp_path}/other.db") as foreign:
        asyncio.run(run(foreign))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.text(alphabet=st.characters(codec="ascii", categories=("L", "N", "P")), min_size=80, max_size=110))
def test_whatever_text_is_no_token_and_no_client(vault: TokenRepository, text: str, long: str) -> None:
    server = make(vault)

    async def run() -> list[object]:
        return [
            found
            for candidate in (text, long)
            for found in (
                await server.get_client(candidate),
                await server.load_authorization_code(CLIENT, candidate),
                await server.load_refresh_token(CLIENT, candidate),
                await server.load_access_token(candidate),
                await server.pending(candidate),
            )
        ]

    assert asyncio.run(run()) == [None] * 10


def test_the_page_says_which_of_the_sdks_tests_are_left_out() -> None:
    page = (Path(__file__).parents[3] / "docs" / "mcp.md").read_text()
    assert [name for name in LEFT_OUT if name.rpartition("::")[2] not in page] == []
