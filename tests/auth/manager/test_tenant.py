"""A handle is bound to one tenant, and does for it what a host needs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
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
    HTTP,
    AuthContext,
    AuthManager,
    BlockingAuthManager,
    BlockingTenant,
    DevicePrompt,
    Disconnected,
    Prompt,
    RequestAuth,
    Secret,
    ServiceConfig,
)
from fusion_store.auth._requests import add_to_request
from tests.auth.manager.conftest import CONFIG, HOUR, MINUTE, SECOND, Scripted, World
from tests.auth.provider import Reply, running_provider


def test_only_a_live_token_opens_a_tenant(world: World) -> None:
    dead = world.repository.add_api_token(expires_at=world.clock.now + SECOND)
    world.clock.advance(SECOND)

    async def open_all() -> None:
        async with world.make_manager() as manager:
            assert (await manager.tenant(world.issued.token)).tenant_hash == world.issued.hash
            for token in (dead.token, "nonsense", world.issued.hash):
                with pytest.raises(AuthError, match="the API token isn't live"):
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
            assert repr(tenant) == f"Tenant({world.tenant_id!r})"
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


def test_a_login_takes_the_tenants_credentials_and_the_managers_time(world: World) -> None:
    login = ServiceCredentials(CredentialType.BASIC_AUTH, {"username": "bot", "password": "hush"})
    tomorrow = world.clock.now + timedelta(days=1)
    away = Reply(503, headers={"Retry-After": format_datetime(world.clock.now + MINUTE, usegmt=True)})

    with running_provider() as provider:
        provider.script("/login", [away, {"token": "t", "expires_at": tomorrow.isoformat()}])
        config = ServiceConfig(
            type="session_jwt", login_url=provider.url("/login"), token_path="token", expires_at_path="expires_at"
        )

        async def calls() -> OAuthTokenData:
            async with AuthManager(world.repository, services={"site": config}, clock=world.clock) as manager:
                tenant = manager.tenant_of(world.issued.hash)
                with pytest.raises(NeedsReauth, match="site: store basic_auth or custom credentials"):
                    await tenant.get_token("site")
                world.clock.advance(SECOND)
                world.repository.store_credentials(world.issued.hash, "site", login)
                with pytest.raises(RefreshFailed) as caught:
                    await tenant.get_token("site")
                assert caught.value.retry_after == pytest.approx(59, abs=1)
                world.clock.advance(HOUR)
                return await tenant.get_token("site")

        token = asyncio.run(calls())
        assert provider.requests[-1].json == login.data
    assert (token.access_token, token.expires_at) == ("t", tomorrow)


def test_the_users_code_is_polled_for_with_the_managers_sleep(world: World) -> None:
    shown: list[Prompt] = []
    waits: list[float] = []

    async def show(prompt: Prompt) -> None:
        shown.append(prompt)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    with running_provider() as provider:
        page = provider.url("/enter")
        provider.script(
            "/device",
            [{"device_code": "d", "user_code": "CODE", "verification_uri": page, "expires_in": 900, "interval": 7}],
        )
        provider.script("/token", [Reply(400, {"error": "authorization_pending"}), {"access_token": "a"}])
        config = ServiceConfig(
            type="oauth2_device",
            client_id="me",
            device_authorization_url=provider.url("/device"),
            token_url=provider.url("/token"),
        )
        with BlockingAuthManager(world.repository, clock=world.clock, sleep=sleep) as manager:
            stored = manager.tenant_of(world.issued.hash).authenticate("mail", config, show=show)

    assert stored.access_token == "a"
    assert shown == [DevicePrompt("mail", "CODE", page, None, world.clock.now + 15 * MINUTE)]
    assert waits == [7, 7]


def test_without_a_clock_the_system_tells_the_time(world: World) -> None:
    token = OAuthTokenData("living", expires_at=datetime.now(UTC) + HOUR)
    stored = world.repository.store_oauth_token(world.issued.hash, "github", token)

    async def call() -> OAuthTokenData:
        async with AuthManager(world.repository, {"scripted": world.strategy}) as manager:
            return await manager.tenant_of(world.issued.hash).get_token("github", CONFIG)

    assert asyncio.run(call()) == stored


def test_what_speaks_to_providers_is_closed_with_the_manager_that_made_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[HTTP] = []

    class Watched(HTTP):
        async def aclose(self) -> None:
            closed.append(self)
            await super().aclose()

    async def calls() -> None:
        async with Watched() as lent:
            async with AuthManager(world.repository, {}, http=lent) as manager:
                assert manager.http is lent
            assert closed == []
        monkeypatch.setattr("fusion_store.auth._http.HTTP", Watched)
        async with AuthManager(world.repository, {}) as manager:
            pass
        assert closed == [lent, manager.http]

    asyncio.run(calls())


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


def test_a_credential_that_can_t_be_sent_is_named_by_its_service(world: World) -> None:
    credentials = ServiceCredentials(CredentialType.BASIC_AUTH, {"username": "bot"})
    world.repository.store_credentials(world.issued.hash, "jira", credentials)

    async def call() -> None:
        async with AuthManager(world.repository, services={"jira": ServiceConfig(type="basic_auth")}) as manager:
            await manager.tenant_of(world.issued.hash).apply_auth({}, "jira")

    with pytest.raises(AuthError, match="jira: the credential has no password"):
        asyncio.run(call())


def test_calls_at_a_time_each_apply_the_configuration_that_they_were_given(world: World) -> None:
    credentials = ServiceCredentials(CredentialType.API_KEY, {"api_key": "k"})
    world.repository.store_credentials(world.issued.hash, "mail", credentials)

    async def calls() -> list[Any]:
        async with AuthManager(world.repository, clock=world.clock) as manager:
            tenant = manager.tenant_of(world.issued.hash)
            configs = [ServiceConfig(type="api_key", header=header) for header in ("X-One", "X-Two")]
            return await asyncio.gather(*(tenant.apply_auth({}, "mail", config) for config in configs))

    assert asyncio.run(calls()) == [{"headers": {"X-One": "k"}}, {"headers": {"X-Two": "k"}}]


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
        self.prompt = DevicePrompt("mail", "CODE", "https://x/", None, world.clock.now + HOUR)
        self.consent = asyncio.Event()

    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
        self.authenticated += 1
        await context.prompt(self.prompt)
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
            assert (strategy.authenticated, seen) == (1, [strategy.prompt] * 6)
            assert world.repository.get_oauth_token(world.issued.hash, "mail") == answers[0]
            assert (await tenants[0].authenticate("mail", config, show=show)).version == 2
            assert (strategy.authenticated, len(seen)) == (2, 7)
            return answers

    assert {token.version for token in asyncio.run(calls())} == {1}


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


def test_the_rest_of_a_query_stays_as_it_is_to_the_letter(world: World) -> None:
    world.store(HOUR)
    request = httpx2.Request("GET", "https://api.example/items?sig=a%FFb%2f&flag&k%65y=stale&a+b=c%20d&x=")

    async def calls() -> None:
        async with world.make_manager() as manager:
            await manager.tenant_of(world.issued.hash).apply_auth(request, "github", CONFIG)

    asyncio.run(calls())
    assert request.url.query == b"sig=a%FFb%2f&flag&a+b=c%20d&x=&key=old"


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
    key = ServiceCredentials(CredentialType.API_KEY, {"api_key": "k"})
    stored = [
        world.repository.store_credentials(world.issued.hash, service, credentials)
        for service, credentials in (("cache:mine", key), ("cached", custom))
    ]
    world.store(HOUR)

    async def calls() -> None:
        async with world.make_manager() as manager:
            cache = (await manager.tenant(world.issued.token)).cache
            for number in range(5):
                await cache.set(f"{number}", number, HOUR)
            assert await cache.clear() == 5
            assert await cache.clear() == 0

    asyncio.run(calls())
    assert list(world.repository.list_credentials(world.issued.hash).values()) == stored
    assert world.repository.get_oauth_token(world.issued.hash, "github") is not None


def test_the_cache_names_what_it_refuses_and_says_why(world: World) -> None:
    no_key = "must be a string that isn't empty"
    refused: list[tuple[Any, Any, timedelta, str, str]] = [
        ("", 1, HOUR, "key", no_key),
        (None, 1, HOUR, "key", no_key),
        ("\ud800", 1, HOUR, "key", "must not hold surrogates"),
        ("k", 1, timedelta(), "ttl", "must be positive"),
        ("k", float("nan"), HOUR, "data", ""),
        ("k", "x" * 70_000, HOUR, "data", ""),
    ]

    async def calls() -> None:
        async with world.make_manager() as manager:
            cache = (await manager.tenant(world.issued.token)).cache
            for key, value, ttl, field, reason in refused:
                with pytest.raises(InvalidInput, match=f"^{field}: {reason}") as caught:
                    await cache.set(key, value, ttl)
                assert caught.value.field == field
            assert not await cache.has("k")

    asyncio.run(calls())


def test_keys_stand_in_the_names_of_services_and_are_hashed_where_they_would_not_fit(world: World) -> None:
    longest, too_long = "k" * 200, "k" * 201
    digest = "sha256:" + sha256(too_long.encode()).hexdigest()

    async def calls() -> None:
        async with world.make_manager() as manager:
            cache = (await manager.tenant(world.issued.token)).cache
            await cache.set(longest, 1, HOUR)
            await cache.set(too_long, 2, HOUR)
            names = {service for service, _ in world.repository.list_credentials(world.issued.hash)}
            assert names == {f"cache:{longest}", f"cache:{digest}"}
            assert not await cache.has(digest)
            await cache.set(digest, 3, HOUR)
            assert [await cache.get(key) for key in (longest, too_long, digest)] == [1, 2, 3]

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


def test_without_a_loop_too_each_call_takes_the_configuration_that_it_is_given(world: World) -> None:
    stored = world.store(HOUR)
    with BlockingAuthManager(world.repository, strategies={"scripted": world.strategy}, clock=world.clock) as manager:

        def fresh() -> BlockingTenant:
            return manager.tenant_of(world.issued.hash)

        assert fresh().apply_auth({}, "github", CONFIG)["headers"] == {"Authorization": "Bearer old"}
        assert fresh().apply_secret({}, "github", stored, CONFIG)["headers"] == {"Authorization": "Bearer old"}
        assert fresh().invalidate_token("github", stored.version, CONFIG).access_token == "access 1"
        assert fresh().disconnect("github", CONFIG) == Disconnected(deleted=True, revoked=True)
        assert fresh().cache.get("nothing", "default") == "default"
