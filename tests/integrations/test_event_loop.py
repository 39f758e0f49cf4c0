"""The event loop never waits for the vault, whichever adapter asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import httpx2
import pytest
from blockbuster import blockbuster_ctx

import fusion_store.integrations.httpx
import fusion_store.integrations.httpx2
from fusion_store.auth import AuthManager, Tenant, find_strategies
from fusion_store.integrations.authlib import token_getter
from tests.auth.provider import running_provider
from tests.integrations.clients.conftest import World

Adapter = Callable[[World, Tenant], Awaitable[object]]


async def with_httpx(world: World, tenant: Tenant) -> object:
    auth = fusion_store.integrations.httpx.FusionAuth(tenant, "api", world.config)
    async with httpx.AsyncClient(auth=auth, verify=False) as client:
        return (await client.get(world.provider.url("/api"))).raise_for_status()


async def with_httpx2(world: World, tenant: Tenant) -> object:
    auth = fusion_store.integrations.httpx2.FusionAuth(tenant, "api", world.config)
    async with httpx2.AsyncClient(auth=auth, verify=False) as client:
        return (await client.get(world.provider.url("/api"))).raise_for_status()


async def with_authlib(world: World, tenant: Tenant) -> object:
    return await token_getter(tenant, "api", world.config)()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running_provider() as provider:
        made = World(tmp_path, provider)
        with made.vault:
            yield made


@pytest.mark.parametrize("adapter", [with_httpx, with_httpx2, with_authlib])
@pytest.mark.parametrize("state", ["live", "due", "refused"])
def test_nothing_blocks_on_the_loop(world: World, adapter: Adapter, state: str) -> None:
    token = world.store(timedelta(seconds=-1) if state == "due" else timedelta(hours=1))
    world.refused.update([token.access_token] * (state == "refused"))

    # Once in a process: the clients load their transports, and packages are looked through for strategies.
    httpx.AsyncClient(), httpx2.AsyncClient()
    strategies = find_strategies()

    async def use() -> None:
        async with AuthManager(world.vault, strategies) as manager:
            assert await adapter(world, manager.tenant_of(world.tenant_hash))

    with blockbuster_ctx():
        asyncio.run(use())
