"""A handle is bound to one tenant, and does for it what a host needs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from fusion_store import (
    AuthError,
    ConfigError,
    CredentialType,
    InvalidInput,
    NeedsReauth,
    OAuthTokenData,
    RefreshFailed,
    ServiceCredentials,
    StoreClosed,
)
from fusion_store.auth import (
    AuthContext,
    AuthManager,
    BlockingAuthManager,
    DevicePrompt,
    Disconnected,
    Prompt,
    RequestAuth,
    Secret,
    ServiceConfig,
)
from fusion_store.auth._requests import add_to_request
from tests.auth.manager.conftest import CONFIG, HOUR, SECOND, Scripted, World


def test_only_a_live_token_opens_a_tenant(world: World) -> None:
    dead = world.repository.add_api_token(expires_at=world.clock.now + SECOND)
    world.clock.advance(SECOND)

    async def open_all() -> None:
        async with world.make_manager() as manager:
            assert (await manager.tenant(world.issued.token)).tenant_hash == world.issued.hash
            for token in (dead.token, "nonsense", world.issued.hash):
                with pytest.raises(AuthError):
                    await manager.tenant(token)

    asyncio.run(open_all())


def test_handles_of_two_tenants_never_see_each_others_tokens(world: World) -> None:
    other = world.repository.add_api_token()
    world.store(HOUR)
    world.repository.store_oauth_token(other.hash, "github", OAuthTokenData("other's"))

    async def calls() -> list[OAuthTokenData]:
        async with world.make_manager() as manager:
            tenants = [await manager.tenant(token) for token in (world.issued.token, other.token)]
            return await asyncio.gather(*(tenant.get_token("github", CONFIG) for tenant in tenants * 20))

    found = asyncio.run(calls())
    assert [token.access_token for token in found] == ["old", "other's"] * 20


def test_a_handle_shows_no_secret_and_cannot_be_rebound(world: World) -> None:
    async def look() -> None:
        async with world.make_manager() as manager:
            tenant = await manager.tenant(world.issued.token)
            assert world.issued.token not in repr(tenant)
            with pytest.raises(AttributeError):
                tenant.tenant_hash = "0" * 64  # type: ignore[misc]

    asyncio.run(look())


def test_a_service_without_configuration_is_an_error_that_names_it(world: World) -> None:
    with pytest.raises(ConfigError, match="github"):
        world.call(lambda tenant: tenant.get_token("github"))
    with pytest.raises(ConfigError, match=r"nothing.*scripted"):
        world.call(lambda tenant: tenant.get_token("github", ServiceConfig(type="nothing")))


def test_the_managers_configurations_are_used_where_none_is_given(world: World) -> None:
    stored = world.store(HOUR)

    async def call() -> OAuthTokenData:
        strategies = {"scripted": world.strategy}
        services = {"github": CONFIG}
        async with AuthManager(world.repository, strategies, services=services, clock=world.clock) as manager:
            return await (await manager.tenant(world.issued.token)).get_token("github")

    assert asyncio.run(call()) == stored


# Requests


def requests_to_fill() -> list[Any]:
    url = "https://api.example/items?page=2&key=stale"
    return [
        httpx2.Request("GET", url, headers={"Accept": "x", "Cookie": "theme=dark; session=stale"}),
        {"headers": {"Accept": "x", "authorization": "stale"}, "params": {"page": "2", "key": "stale"}},
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_the_secret_goes_where_the_service_wants_it(world: World, number: int) -> None:
    world.store(HOUR)
    request = requests_to_fill()[number]

    answered = world.call(lambda tenant: tenant.apply_auth(request, "github", CONFIG))

    assert answered is request
    if isinstance(request, dict):
        assert request["headers"] == {"Accept": "x", "Authorization": "Bearer old"}
        assert request["params"] == {"page": "2", "key": "old"}
        assert request["cookies"] == {"session": "cookie"}
    else:
        assert request.headers["Authorization"] == "Bearer old"
        assert dict(request.url.params) == {"page": "2", "key": "old"}
        assert request.headers["Cookie"] == "theme=dark; session=cookie"


def test_what_is_no_request_is_refused_without_showing_the_secret() -> None:
    for request in ("https://api.example", {"headers": [("Accept", "x")]}):
        with pytest.raises(ConfigError) as caught:
            add_to_request(request, RequestAuth({"Authorization": "Bearer canary"}))
        assert "canary" not in str(caught.value)
    assert "canary" not in repr(RequestAuth({"Authorization": "canary"}, {"k": "canary"}, {"c": "canary"}))


class Keys(Scripted):
    type = "keys"
    credential_type = CredentialType.API_KEY

    def apply(self, config: ServiceConfig, secret: Secret) -> RequestAuth:
        assert isinstance(secret, ServiceCredentials)
        return RequestAuth({"X-API-Key": secret.data["key"]})


def test_service_credentials_are_read_from_their_own_operations(world: World) -> None:
    config = ServiceConfig(type="keys")

    async def calls() -> None:
        async with AuthManager(world.repository, {"keys": Keys(world.clock)}, clock=world.clock) as manager:
            tenant = await manager.tenant(world.issued.token)
            with pytest.raises(NeedsReauth, match="api_key"):
                await tenant.apply_auth({}, "mail", config)
            credentials = ServiceCredentials(CredentialType.API_KEY, {"key": "k"})
            world.repository.store_credentials(world.issued.hash, "mail", credentials)
            assert await tenant.apply_auth({}, "mail", config) == {"headers": {"X-API-Key": "k"}}
            with pytest.raises(ConfigError, match="apply_auth"):
                await tenant.get_token("mail", config)
            assert world.repository.list_oauth_tokens(world.issued.hash) == {}
            assert await tenant.disconnect("mail", config) == Disconnected(deleted=True, revoked=False)
            assert not await tenant.disconnect("mail", config)

    asyncio.run(calls())


# Disconnecting


@pytest.mark.parametrize(
    ("revocation", "revoked"), [(True, True), (False, False), (RefreshFailed("away", retryable=True), False)]
)
def test_disconnecting_revokes_where_it_can_and_always_deletes(
    world: World, revocation: bool | Exception, revoked: bool
) -> None:
    stored = world.store(HOUR)
    world.strategy.revocation = revocation

    assert world.call(lambda tenant: tenant.disconnect("github", CONFIG)) == Disconnected(True, revoked)

    assert world.strategy.revoked == [stored]
    assert world.repository.get_oauth_token(world.issued.hash, "github") is None
    assert not world.call(lambda tenant: tenant.disconnect("github", CONFIG))


# Signing in


class Asking(Scripted):
    """Shows a prompt and waits until somebody has consented."""

    type = "asking"

    def __init__(self, world: World) -> None:
        super().__init__(world.clock)
        self.consent = asyncio.Event()

    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
        self.authenticated += 1
        await context.prompt(DevicePrompt("mail", "CODE", "https://x/", None, self.clock.now + HOUR))
        await self.consent.wait()
        return self.new_token()


def test_callers_that_sign_in_at_once_share_one_sign_in_and_each_sees_its_prompt(world: World) -> None:
    seen: list[Prompt] = []

    async def show(prompt: Prompt) -> None:
        seen.append(prompt)

    async def calls() -> list[OAuthTokenData]:
        strategy = Asking(world)
        async with AuthManager(world.repository, {"asking": strategy}, clock=world.clock) as manager:
            config = ServiceConfig(type="asking")
            tenants = [manager.tenant_of(world.issued.hash) for _ in range(5)]
            tasks = [asyncio.create_task(t.authenticate("mail", config, show=show)) for t in tenants]
            await asyncio.sleep(0.01)
            late = asyncio.create_task(tenants[0].authenticate("mail", config, show=show))
            await asyncio.sleep(0.01)
            strategy.consent.set()
            answers = await asyncio.gather(*tasks, late)
            assert strategy.authenticated == 1
            return answers

    answers = asyncio.run(calls())
    assert len(seen) == 6
    assert {token.version for token in answers} == {1}
    assert world.repository.get_oauth_token(world.issued.hash, "mail") == answers[0]


def test_a_sign_in_that_nobody_waits_for_any_more_ends(world: World) -> None:
    async def show(prompt: Prompt) -> None:
        pass

    async def calls() -> None:
        strategy = Asking(world)
        async with AuthManager(world.repository, {"asking": strategy}, clock=world.clock) as manager:
            config = ServiceConfig(type="asking")
            tenant = manager.tenant_of(world.issued.hash)
            first, second = (asyncio.create_task(tenant.authenticate("mail", config, show=show)) for _ in range(2))
            await asyncio.sleep(0.01)
            first.cancel()
            await asyncio.sleep(0.01)
            assert not second.done()
            second.cancel()
            await asyncio.sleep(0.01)
            again = asyncio.create_task(tenant.authenticate("mail", config, show=show))
            await asyncio.sleep(0.01)
            assert strategy.authenticated == 2
            strategy.consent.set()
            assert (await again).version == 1

    asyncio.run(calls())


def test_without_anybody_to_ask_the_user_has_to_consent_first(world: World) -> None:
    async def calls() -> None:
        async with AuthManager(world.repository, {"asking": Asking(world)}, clock=world.clock) as manager:
            with pytest.raises(NeedsReauth, match="connect"):
                await manager.tenant_of(world.issued.hash).authenticate("mail", ServiceConfig(type="asking"))

    asyncio.run(calls())


def test_a_secret_takes_the_place_of_the_one_applied_before(world: World) -> None:
    world.store(HOUR)
    request = httpx2.Request("GET", "https://api.example/items?page=2")

    async def calls() -> None:
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            first = await tenant.get_secret("github", CONFIG)
            assert isinstance(first, OAuthTokenData)
            assert tenant.apply_secret(request, "github", first) is request
            second = await tenant.invalidate_token("github", first.version)
            tenant.apply_secret(request, "github", second)

    asyncio.run(calls())
    assert request.headers["Authorization"] == "Bearer access 1"
    assert dict(request.url.params) == {"page": "2", "key": "access 1"}
    assert request.headers["Cookie"] == "session=cookie"


def test_credentials_are_the_secret_of_a_service_that_has_them(world: World) -> None:
    credentials = ServiceCredentials(CredentialType.API_KEY, {"api_key": "k"})
    stored = world.repository.store_credentials(world.issued.hash, "mail", credentials)
    with BlockingAuthManager(world.repository, clock=world.clock) as manager:
        tenant = manager.tenant_of(world.issued.hash)
        config = ServiceConfig(type="api_key")
        assert tenant.get_secret("mail", config) == stored
        assert tenant.apply_secret({}, "mail", stored) == {"headers": {"X-API-Key": "k"}}
        with pytest.raises(NeedsReauth):
            tenant.get_secret("other", config)


# The cache


def test_the_cache_keeps_values_for_their_time(world: World) -> None:
    async def calls() -> None:
        async with world.make_manager() as manager:
            cache = (await manager.tenant(world.issued.token)).cache
            other = manager.tenant_of(world.repository.add_api_token().hash).cache
            value = {"list": [1, None, "é"], "deep": {"x": 1.5}}
            await cache.set("profile", value, HOUR)
            await cache.set("profile " * 100, 2, 2 * HOUR)
            assert await cache.get("profile") == value
            assert await cache.get("profile " * 100) == 2
            assert await cache.has("profile")
            assert await other.get("profile", "none") == "none"
            assert not await cache.has("Profile")
            await cache.set("profile", "second", HOUR)
            assert await cache.get("profile") == "second"
            world.clock.advance(HOUR)
            assert await cache.get("profile") is None
            assert await cache.get("profile " * 100) == 2
            assert await cache.delete("profile " * 100)
            assert not await cache.delete("profile " * 100)

    asyncio.run(calls())


def test_clearing_the_cache_leaves_everything_else(world: World) -> None:
    custom = ServiceCredentials(CredentialType.CUSTOM, {"a": 1})
    stored = world.repository.store_credentials(world.issued.hash, "cached", custom)
    world.store(HOUR)

    async def calls() -> None:
        async with world.make_manager() as manager:
            cache = (await manager.tenant(world.issued.token)).cache
            for number in range(5):
                await cache.set(f"{number}", number, HOUR)
            assert await cache.clear() == 5
            assert await cache.clear() == 0

    asyncio.run(calls())
    assert list(world.repository.list_credentials(world.issued.hash).values()) == [stored]
    assert world.repository.get_oauth_token(world.issued.hash, "github") is not None


def test_the_cache_refuses_what_it_cannot_keep(world: World) -> None:
    async def calls() -> None:
        async with world.make_manager() as manager:
            cache = (await manager.tenant(world.issued.token)).cache
            for key, value, ttl in (
                ("", 1, HOUR),
                ("k", 1, timedelta()),
                ("k", float("nan"), HOUR),
                ("k", "x" * 70_000, HOUR),
            ):
                with pytest.raises(InvalidInput):
                    await cache.set(key, value, ttl)
            assert not await cache.has("k")

    asyncio.run(calls())


def test_a_token_is_never_answered_from_the_cache(world: World) -> None:
    async def calls() -> None:
        async with world.make_manager() as manager:
            tenant = await manager.tenant(world.issued.token)
            for key in ("github", "oauth:github", "token:github"):
                await tenant.cache.set(key, {"access_token": "cached"}, HOUR)
            with pytest.raises(NeedsReauth):
                await tenant.get_token("github", CONFIG)

    asyncio.run(calls())


# Threads


def test_hosts_without_a_loop_have_the_same(world: World) -> None:
    world.store(-SECOND)
    with BlockingAuthManager(world.repository, strategies={"scripted": world.strategy}, clock=world.clock) as manager:
        tenant = manager.tenant(world.issued.token)
        assert tenant.tenant_hash == manager.tenant_of(world.issued.hash).tenant_hash == world.issued.hash
        new = tenant.get_token("github", CONFIG)
        assert new.access_token == "access 1"
        assert tenant.invalidate_token("github", new.version).access_token == "access 2"
        assert tenant.apply_auth({}, "github")["headers"] == {"Authorization": "Bearer access 2"}
        tenant.cache.set("k", 1, HOUR)
        assert (tenant.cache.get("k"), tenant.cache.has("k"), tenant.cache.delete("k")) == (1, True, True)
        assert tenant.cache.clear() == 0
        assert tenant.disconnect("github")
        assert tenant.authenticate("github").version == 4
        with pytest.raises(AuthError):
            manager.tenant("nonsense")
    with pytest.raises(StoreClosed):
        manager.tenant(world.issued.token)
    manager.close()
