"""The event loop never waits for the vault, whichever adapter asks it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import httpx2
import pytest
from blockbuster import blockbuster_ctx
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyUrl

import fusion_store.integrations.fastmcp
import fusion_store.integrations.httpx
import fusion_store.integrations.httpx2
import fusion_store.integrations.mcp
from fusion_store.auth import AuthManager, ServiceConfig, Tenant
from fusion_store.integrations.authlib import token_getter
from fusion_store.integrations.key_value import FusionKeyValueStore
from fusion_store.integrations.mcp import FusionTokenStorage
from tests.auth.provider import running_provider
from tests.integrations.clients.conftest import World
from tests.integrations.mcp.authorization import hosting

Adapter = Callable[[World, Tenant], Awaitable[object]]


async def with_httpx(world: World, tenant: Tenant) -> object:
    auth = fusion_store.integrations.httpx.FusionAuth(tenant, "api", world.config)
    async with httpx.AsyncClient(auth=auth, verify=False) as client:
        return (await client.get(world.provider.url("/api"))).raise_for_status()


async def with_httpx2(world: World, tenant: Tenant) -> object:
    auth = fusion_store.integrations.httpx2.FusionAuth(tenant, "api", world.config)
    async with httpx2.AsyncClient(auth=auth, verify=False) as client:
        return (await client.get(world.provider.url("/api"))).raise_for_status()


async def verify_for_mcp(world: World, _: Tenant) -> object:
    verifier = fusion_store.integrations.mcp.FusionTokenVerifier(world.vault)
    assert await verifier.verify_token("unknown") is None
    return await verifier.verify_token(world.issued.token)


async def verify_for_fastmcp(world: World, _: Tenant) -> object:
    verifier = fusion_store.integrations.fastmcp.FusionTokenVerifier(world.vault)
    assert await verifier.verify_token("unknown") is None
    return await verifier.verify_token(world.issued.token)


async def keep_consent(world: World, _: Tenant) -> object:
    storage = FusionTokenStorage(world.vault, world.tenant_hash, "https://notes.example/mcp")
    await storage.set_tokens(OAuthToken(access_token="a", refresh_token="r", expires_in=60))
    await storage.set_client_info(
        OAuthClientInformationFull(client_id="me", redirect_uris=[AnyUrl("http://127.0.0.1/callback")])
    )
    assert await storage.get_client_info()
    return await storage.get_tokens()


async def keep_values(world: World, _: Tenant) -> object:
    store = FusionKeyValueStore(world.vault)
    await store.put_many(["one", "two"], [{"n": 1}, {"n": 2}], collection="c", ttl=60)
    await store.delete("two", collection="c")
    assert await store.get_many(["one", "two"], collection="c") == [{"n": 1}, None]
    return await store.ttl("one", collection="c")


async def with_authlib(world: World, tenant: Tenant) -> object:
    return await token_getter(tenant, "api", world.config)()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running_provider() as provider:
        made = World(tmp_path, provider)
        with made.vault:
            yield made


UPSTREAM: list[Adapter] = [with_httpx, with_httpx2, with_authlib]
OTHERS: list[Adapter] = [verify_for_mcp, verify_for_fastmcp, keep_consent, keep_values]


@pytest.mark.parametrize("adapter", OTHERS)
def test_nothing_blocks_on_the_loop(world: World, adapter: Adapter) -> None:
    run(world, adapter)


@pytest.mark.parametrize("adapter", UPSTREAM)
@pytest.mark.parametrize("state", ["live", "due", "refused"])
def test_getting_a_token_does_not_block_it_either(world: World, adapter: Adapter, state: str) -> None:
    token = world.store(timedelta(seconds=-1) if state == "due" else timedelta(hours=1))
    world.refused.update([token.access_token] * (state == "refused"))

    run(world, adapter)


def test_a_secret_in_a_file_is_read_beside_the_loop(world: World, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("s")
    world.config = ServiceConfig(
        type="oauth2_external",
        client_id=f"file:{secret}",
        client_secret=f"file:{secret}",
        token_url=world.provider.url("/token"),
    )
    world.store(timedelta(seconds=-1))

    run(world, with_httpx2)

    (asked,) = world.provider.asked("/token")
    assert asked.headers["authorization"] == f"Basic {b64encode(b's:s').decode()}"


def run(world: World, adapter: Adapter) -> None:
    # Once in a process: the clients load their transports.
    httpx.AsyncClient(), httpx2.AsyncClient()

    async def use() -> None:
        async with AuthManager(world.vault) as manager:
            assert await adapter(world, manager.tenant_of(world.tenant_hash))

    with blockbuster_ctx():
        asyncio.run(use())


def test_the_authorization_server_does_not_block_its_loop(world: World) -> None:
    with hosting(world.vault) as host:
        host.users["ada"] = world.issued
        client = host.register()
        host.sign_in(client)
        with blockbuster_ctx():
            second = host.register()
            tokens = host.sign_in(second)
            renewed = host.refresh(second, tokens["refresh_token"]).json()
            assert host.status(renewed["access_token"]) == 200
            assert host.revoke(second, renewed["access_token"]).status_code == 200
            assert host.status(renewed["access_token"]) == 401
