"""The SDK's client with its consent in a vault, against an authorization server on another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.shared.auth import OAuthClientMetadata
from pydantic import AnyUrl

from fusion_store import IssuedToken, NeedsReauth, TokenRepository, get_repository
from fusion_store.auth import AuthManager
from fusion_store.integrations.mcp import FusionAuth, FusionTokenStorage
from tests.integrations.mcp.authorization import REDIRECT, Host, hosting
from tests.integrations.mcp.peers import MODES, Mode, connected, whoami


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """The server's side, with a vault of its own."""
    with get_repository(f"sqlite:///{tmp_path}/server.db") as theirs, hosting(theirs) as running:
        running.users = {"ada": theirs.add_api_token("Ada"), "bob": theirs.add_api_token("Bob")}
        yield running


class Agent:
    """The client's side: one tenant at one server. ``consents`` counts how often its user was asked."""

    def __init__(self, vault: TokenRepository, tenant: IssuedToken, host: Host, user: str = "ada") -> None:
        self.storage = FusionTokenStorage(vault, tenant.hash, f"{host.url}/mcp")
        self.host = host
        self.user = user
        self.consents = 0
        self.method: str | None = None

    def provider(self) -> OAuthClientProvider:
        """The SDK's, as a new process makes it."""
        back: dict[str, str] = {}

        async def redirect(url: str) -> None:
            self.consents += 1
            back.update(await asyncio.to_thread(self.host.follow, url, self.user))

        async def callback() -> AuthorizationCodeResult:
            return AuthorizationCodeResult(code=back["code"], state=back["state"], iss=back["iss"])

        metadata: dict[str, Any] = {"redirect_uris": [AnyUrl(REDIRECT)], "token_endpoint_auth_method": self.method}
        return OAuthClientProvider(
            f"{self.host.url}/mcp",
            OAuthClientMetadata(**metadata),
            self.storage,
            redirect,
            callback,
            validate_resource_url=self.storage.check_resource,
        )

    @asynccontextmanager
    async def connected(self, mode: Mode, auth: httpx2.Auth | None = None) -> AsyncIterator[Client]:
        async with connected(f"{self.host.url}/mcp", auth or self.provider(), mode) as client:
            yield client

    async def whoami(self, mode: Mode = "auto", auth: httpx2.Auth | None = None) -> str:
        async with self.connected(mode, auth) as client:
            return await whoami(client)


@pytest.fixture
def agent(vault: TokenRepository, ada: IssuedToken, host: Host) -> Agent:
    return Agent(vault, ada, host)


@pytest.mark.parametrize("mode", MODES)
def test_the_first_consent_serves_later_processes_too(agent: Agent, mode: Mode) -> None:
    theirs = agent.host.users["ada"].hash
    assert asyncio.run(agent.whoami(mode)) == theirs
    assert asyncio.run(agent.whoami(mode)) == theirs
    assert agent.consents == 1


def test_what_is_kept_is_the_tenants_token_for_the_server(
    vault: TokenRepository, ada: IssuedToken, agent: Agent
) -> None:
    asyncio.run(agent.whoami())
    token = vault.get_oauth_token(ada.hash, agent.storage.service)
    assert agent.storage.service == f"{agent.host.url}/mcp"
    assert token is not None
    assert token.refresh_token is not None
    assert token.expires_at is not None
    assert token.scope == ("read",)


@pytest.mark.parametrize("mode", MODES)
def test_an_expired_token_is_refreshed_and_the_session_goes_on(agent: Agent, mode: Mode) -> None:
    async def run() -> None:
        provider = agent.provider()
        async with agent.connected(mode, provider) as client:
            first = await whoami(client)
            before = await agent.storage.get_tokens()
            provider.context.token_expiry_time = 1.0
            assert await whoami(client) == first
            after = await agent.storage.get_tokens()
            assert before is not None
            assert after is not None
            assert before.access_token != after.access_token
            assert before.refresh_token != after.refresh_token

    asyncio.run(run())
    assert agent.consents == 1


def test_after_a_stolen_refresh_token_was_used_the_user_is_asked_again(agent: Agent) -> None:
    asyncio.run(agent.whoami())
    stolen = asyncio.run(agent.storage.get_tokens())
    client = asyncio.run(agent.storage.get_client_info())
    assert stolen is not None
    assert stolen.refresh_token is not None
    assert client is not None
    registration = client.model_dump(mode="json")
    thief = agent.host.refresh(registration, stolen.refresh_token).json()
    assert agent.host.status(thief["access_token"]) == 200

    async def refresh() -> str:
        provider = agent.provider()
        await provider._initialize()
        provider.context.token_expiry_time = 1.0
        return await agent.whoami(auth=provider)

    assert asyncio.run(refresh()) == agent.host.users["ada"].hash
    assert agent.consents == 2
    assert agent.host.status(thief["access_token"]) == 401
    assert agent.host.refresh(registration, thief["refresh_token"]).status_code == 400


def test_a_revoked_grant_is_asked_for_again(agent: Agent) -> None:
    asyncio.run(agent.whoami())
    tokens = asyncio.run(agent.storage.get_tokens())
    client = asyncio.run(agent.storage.get_client_info())
    assert tokens is not None
    assert client is not None
    agent.host.revoke(client.model_dump(mode="json"), tokens.access_token)
    asyncio.run(agent.whoami())
    assert agent.consents == 2


def test_each_tenant_is_whom_its_user_consented_as(vault: TokenRepository, ada: IssuedToken, host: Host) -> None:
    ours = vault.add_api_token("Bob")
    agents = {"ada": Agent(vault, ada, host), "bob": Agent(vault, ours, host, "bob")}
    for _ in range(2):
        for user, agent in agents.items():
            assert asyncio.run(agent.whoami()) == host.users[user].hash
            assert agent.consents == 1


def test_many_callers_with_an_expired_token_refresh_it_once(
    vault: TokenRepository, ada: IssuedToken, agent: Agent
) -> None:
    # The server ends a grant whose refresh token is used twice: who comes through here was the only one.
    agent.method = "none"
    asyncio.run(agent.whoami())
    service = agent.storage.service

    async def call(manager: AuthManager) -> str:
        config = await agent.storage.service_config()
        return await agent.whoami(auth=FusionAuth(manager.tenant_of(ada.hash), service, config))

    async def run() -> None:
        before = await agent.storage.get_tokens()
        assert before is not None
        before.expires_in = 0
        await agent.storage.set_tokens(before)
        async with AuthManager(vault) as one, AuthManager(vault) as other:
            answers = await asyncio.gather(*[call(manager) for manager in (one, other) for _ in range(4)])
        after = await agent.storage.get_tokens()
        assert set(answers) == {agent.host.users["ada"].hash}
        assert after is not None
        assert after.access_token != before.access_token

    asyncio.run(run())
    assert agent.consents == 1


def test_a_token_that_the_server_refuses_is_refreshed_once(
    vault: TokenRepository, ada: IssuedToken, agent: Agent
) -> None:
    agent.method = "none"
    asyncio.run(agent.whoami())

    async def run() -> None:
        tokens = await agent.storage.get_tokens()
        assert tokens is not None
        await agent.storage.set_tokens(tokens.model_copy(update={"access_token": "unknown"}))
        async with AuthManager(vault) as manager:
            config = await agent.storage.service_config()
            auth = FusionAuth(manager.tenant_of(ada.hash), agent.storage.service, config)
            assert await agent.whoami(auth=auth) == agent.host.users["ada"].hash

    asyncio.run(run())
    assert agent.consents == 1


def test_without_consent_there_is_nothing_to_send(vault: TokenRepository, ada: IssuedToken, agent: Agent) -> None:
    with pytest.raises(NeedsReauth):
        asyncio.run(agent.storage.service_config())
