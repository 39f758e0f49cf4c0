"""Sessions of Authlib and requests-oauthlib use the vault's access tokens, and leave refreshing to it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests_oauthlib
from authlib.integrations import flask_client, httpx_client, requests_client, starlette_client
from flask import Flask
from starlette.requests import Request

from fusion_store import ConfigError, CredentialType, NeedsReauth, OAuthTokenData, ServiceCredentials
from fusion_store.auth import AuthManager, BlockingAuthManager, BlockingTenant, Tenant
from fusion_store.integrations.authlib import token_getter
from tests.integrations.clients.conftest import World

SECOND = timedelta(seconds=1)


def never(*arguments: Any, **named: Any) -> None:
    pytest.fail("the session has a token of its own")


def authlib_requests(world: World, tenant: BlockingTenant) -> int:
    token = token_getter(tenant, "api", world.config)()
    url = world.provider.url("/token")
    with requests_client.OAuth2Session("me", token=token, token_endpoint=url, update_token=never) as session:
        return int(session.get(world.provider.url("/api")).status_code)


def requests_oauth(world: World, tenant: BlockingTenant) -> int:
    token = token_getter(tenant, "api", world.config)()
    url = world.provider.url("/token")
    with requests_oauthlib.OAuth2Session("me", token=token, auto_refresh_url=url, token_updater=never) as session:
        return int(session.get(world.provider.url("/api")).status_code)


def authlib_flask(world: World, tenant: BlockingTenant) -> int:
    app = Flask(__name__)
    registry = flask_client.OAuth(app, fetch_token=token_getter(tenant, "api", world.config))
    registry.register("api", client_id="me", access_token_url=world.provider.url("/token"), update_token=never)
    with app.app_context():
        return int(registry.api.get(world.provider.url("/api")).status_code)


async def authlib_httpx(world: World, tenant: Tenant) -> int:
    token = await token_getter(tenant, "api", world.config)()
    url = world.provider.url("/token")
    async with httpx_client.AsyncOAuth2Client("me", token=token, token_endpoint=url, update_token=never) as session:
        return int((await session.get(world.provider.url("/api"))).status_code)


async def authlib_starlette(world: World, tenant: Tenant) -> int:
    registry = starlette_client.OAuth(fetch_token=token_getter(tenant, "api", world.config))
    registry.register("api", client_id="me", access_token_url=world.provider.url("/token"), update_token=never)
    request = Request({"type": "http"})
    return int((await registry.api.get(world.provider.url("/api"), request=request)).status_code)


Session = Callable[[], int]


@pytest.fixture(params=[authlib_requests, requests_oauth, authlib_flask, authlib_httpx, authlib_starlette])
def session(request: pytest.FixtureRequest, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Calls the service by one kind of session and answers the status, each test running with all."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    if not inspect.iscoroutinefunction(request.param):
        with BlockingAuthManager(world.vault) as manager:
            yield lambda: int(request.param(world, manager.tenant_of(world.tenant_hash)))
        return

    async def call() -> int:
        async with AuthManager(world.vault) as manager:
            return int(await request.param(world, manager.tenant_of(world.tenant_hash)))

    yield lambda: asyncio.run(call())


def test_a_session_sends_the_tenants_token(world: World, session: Session) -> None:
    token = world.store()
    assert session() == 200
    assert world.served() == [token.access_token]


def test_a_token_about_to_expire_was_renewed_by_the_vault_alone(world: World, session: Session) -> None:
    world.store(-SECOND)
    assert session() == 200
    assert world.served() == [world.stored().access_token]
    assert (world.provider.refreshes, world.provider.reuses, world.stored().version) == (1, 0, 2)


def test_a_session_refreshes_nothing_by_itself(world: World, session: Session) -> None:
    token = world.store(20 * SECOND)  # Authlib renews a minute ahead, the vault a quarter of the lifetime
    assert session() == 200
    assert world.served() == [token.access_token]
    assert world.provider.asked("/token") == []


def test_without_a_token_the_user_has_to_consent(world: World, session: Session) -> None:
    with pytest.raises(NeedsReauth):
        session()
    assert world.served() == []


def test_each_call_answers_a_token_with_life_left(world: World) -> None:
    world.store()
    with BlockingAuthManager(world.vault) as manager:
        get = token_getter(manager.tenant_of(world.tenant_hash), "api", world.config)
        first = get()
        world.store(-SECOND)
        second = get("api", object())
    assert first != second == {"access_token": world.stored().access_token, "token_type": "Bearer"}


def test_what_the_session_gets_has_nothing_to_refresh_with(world: World) -> None:
    token = OAuthTokenData("access", "refresh", "bearer", scope=("a",), metadata={"id_token": "secret"})
    world.vault.store_oauth_token(world.tenant_hash, "api", token)
    with BlockingAuthManager(world.vault) as manager:
        answered = token_getter(manager.tenant_of(world.tenant_hash), "api", world.config)()
    assert answered == {"access_token": "access", "token_type": "bearer"}


def test_credentials_are_no_token(world: World) -> None:
    credentials = ServiceCredentials(CredentialType.BEARER, {"token": "t"})
    world.vault.store_credentials(world.tenant_hash, "api", credentials)
    with BlockingAuthManager(world.vault) as manager:
        get = token_getter(manager.tenant_of(world.tenant_hash), "api", world.make_config("bearer"))
        with pytest.raises(ConfigError, match="apply_auth"):
            get()


@pytest.mark.parametrize("tenant", ["0" * 64, None])
def test_what_is_no_handle_is_refused_at_once(tenant: Any) -> None:
    with pytest.raises(ConfigError, match="handle"):
        token_getter(tenant, "api")
