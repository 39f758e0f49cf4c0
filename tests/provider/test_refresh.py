"""Refresh and revocation at a provider that rotates refresh tokens and detects reuse (RFC 9700 section 4.14)."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx2
import pytest

from fusion_store import NeedsReauth, OAuthTokenData, get_repository
from fusion_store.auth import AuthManager, BlockingAuthManager, Tenant
from tests.provider.conftest import SERVICE, TOKEN_LIFE, Host, Provider

CALLERS = 64


def test_token_with_life_left_is_answered_as_it_is(host: Host, provider: Provider) -> None:
    token = host.connect()
    host.pass_time(timedelta(minutes=50))
    assert host.get() == token
    assert provider.refreshes == 0


def test_expired_token_is_refreshed(host: Host, provider: Provider) -> None:
    old = host.connect()
    host.pass_time(TOKEN_LIFE)
    assert provider.user_of(old) is None
    new = host.get()
    assert provider.refreshes == 1
    assert provider.user_of(new) == "alice"
    assert new.refresh_token != old.refresh_token
    assert new.version == 2
    assert host.stored == new


def test_token_is_refreshed_before_it_expires(host: Host, provider: Provider) -> None:
    old = host.connect()
    host.pass_time(TOKEN_LIFE - timedelta(minutes=4))
    assert host.get() != old
    assert provider.refreshes == 1


def test_every_refresh_uses_the_newest_refresh_token(host: Host, provider: Provider) -> None:
    tokens = [host.connect()]
    for _ in range(10):
        host.pass_time(TOKEN_LIFE)
        tokens.append(host.get())
    assert provider.refreshes == 10
    assert len({token.refresh_token for token in tokens}) == 11


def test_one_refresh_for_all_callers_in_a_loop(host: Host, provider: Provider) -> None:
    host.connect()
    host.pass_time(TOKEN_LIFE)

    async def call(tenant: Tenant) -> list[OAuthTokenData]:
        return await asyncio.gather(*(tenant.get_token(SERVICE) for _ in range(CALLERS)))

    tokens = host.run(call)
    assert provider.refreshes == 1
    assert tokens == [host.stored] * CALLERS


def test_one_refresh_for_all_callers_of_many_managers(host: Host, provider: Provider) -> None:
    """Each manager has a repository of its own, as each process has."""
    host.connect()
    host.pass_time(TOKEN_LIFE)

    async def call() -> list[OAuthTokenData]:
        with get_repository(host.url, clock=host.clock) as repository:
            async with AuthManager(repository, services={SERVICE: provider.config()}, clock=host.clock) as manager:
                tenant = await manager.tenant(host.issued.token)
                return await asyncio.gather(*(tenant.get_token(SERVICE) for _ in range(CALLERS // 8)))

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(asyncio.run, call()) for _ in range(8)]
        tokens = [token for future in futures for token in future.result()]
    assert provider.refreshes == 1
    assert tokens == [host.stored] * CALLERS


def test_one_refresh_for_all_threads(host: Host, provider: Provider) -> None:
    host.connect()
    host.pass_time(TOKEN_LIFE)
    services = {SERVICE: provider.config()}
    with (
        BlockingAuthManager(host.repository, services=services, clock=host.clock) as manager,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        tenant = manager.tenant(host.issued.token)
        tokens = list(pool.map(lambda _: tenant.get_token(SERVICE), range(CALLERS)))
    assert provider.refreshes == 1
    assert tokens == [host.stored] * CALLERS


def test_each_tenant_has_its_own_refresh(host: Host, provider: Provider) -> None:
    users = {f"user {number}": host.repository.add_api_token() for number in range(12)}
    for user, issued in users.items():
        host.connect(user, issued=issued)

    async def call(manager: AuthManager) -> list[OAuthTokenData]:
        tenants = [await manager.tenant(issued.token) for issued in users.values()]
        return await asyncio.gather(*(tenant.get_token(SERVICE) for tenant in tenants for _ in range(4)))

    async def main() -> list[OAuthTokenData]:
        async with AuthManager(host.repository, services={SERVICE: provider.config()}, clock=host.clock) as manager:
            await call(manager)
            host.pass_time(TOKEN_LIFE)
            return await call(manager)

    tokens = asyncio.run(main())
    assert provider.refreshes == 12
    assert [provider.user_of(token) for token in tokens[::4]] == list(users)


def test_cancelled_callers_spend_no_refresh_token_twice(host: Host, provider: Provider) -> None:
    host.connect()

    async def call(tenant: Tenant) -> OAuthTokenData:
        for number in range(10):
            host.pass_time(TOKEN_LIFE)
            caller = asyncio.create_task(tenant.get_token(SERVICE))
            await asyncio.sleep(number * 0.002)
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
            await tenant.get_token(SERVICE)
        return await tenant.get_token(SERVICE)

    token = host.run(call)
    assert provider.refreshes == 10
    assert provider.user_of(token) == "alice"


def test_manager_that_is_closed_meanwhile_stores_what_it_got(host: Host, provider: Provider) -> None:
    host.connect()
    for number in range(5):
        host.pass_time(TOKEN_LIFE)

        async def call(tenant: Tenant, pause: float = number * 0.003) -> None:
            caller = asyncio.create_task(tenant.get_token(SERVICE))
            await asyncio.sleep(pause)
            caller.cancel()

        host.run(call)
    assert provider.user_of(host.get()) == "alice"


def test_token_that_the_service_refuses_is_replaced(host: Host, provider: Provider) -> None:
    """The provider's clock is ahead of ours."""
    old = host.connect()
    provider.shift(TOKEN_LIFE)
    assert provider.user_of(old) is None
    new = host.run(lambda tenant: tenant.invalidate_token(SERVICE, old.version))
    assert provider.user_of(new) == "alice"
    assert host.run(lambda tenant: tenant.invalidate_token(SERVICE, old.version)) == new
    assert provider.refreshes == 1


def test_request_carries_a_live_token(host: Host, provider: Provider) -> None:
    host.connect()
    host.pass_time(TOKEN_LIFE)
    request = httpx2.Request("GET", f"{provider.issuer}/me")
    host.run(lambda tenant: tenant.apply_auth(request, SERVICE))
    with httpx2.Client(trust_env=False) as client:
        assert client.send(request).json() == {"sub": "alice"}


def test_refresh_token_that_another_program_used(host: Host, provider: Provider) -> None:
    other_tenant = host.repository.add_api_token()
    stolen = host.connect()
    host.connect("bob", "elsewhere")
    host.connect("carol", issued=other_tenant)
    assert provider.refresh(stolen).is_success
    host.pass_time(TOKEN_LIFE)
    provider.reuses_meant = 1
    for _ in range(2):
        with pytest.raises(NeedsReauth, match=SERVICE):
            host.get()
    assert provider.reuses == 1
    assert provider.user_of(host.get("elsewhere")) == "bob"
    assert provider.user_of(host.get(issued=other_tenant)) == "carol"
    assert provider.user_of(host.connect()) == "alice"
    assert host.get() == host.stored


def test_consent_taken_back(host: Host, provider: Provider) -> None:
    host.connect()
    host.connect("bob", "elsewhere")
    provider.withdraw("alice")
    host.pass_time(TOKEN_LIFE)
    for _ in range(3):
        with pytest.raises(NeedsReauth, match=SERVICE):
            host.get()
    assert sum(provider.refusals.values()) == 1
    assert provider.user_of(host.get("elsewhere")) == "bob"
    assert provider.user_of(host.connect()) == "alice"


def test_consent_taken_back_while_the_token_lives(host: Host, provider: Provider) -> None:
    """The service may still take it, so it is answered until it expires."""
    token = host.connect()
    provider.withdraw("alice")
    host.pass_time(TOKEN_LIFE - timedelta(minutes=4))
    assert host.get().access_token == token.access_token
    host.pass_time(timedelta(minutes=4))
    with pytest.raises(NeedsReauth, match=SERVICE):
        host.get()


def test_refresh_token_that_expired(host: Host, provider: Provider) -> None:
    host.connect()
    host.pass_time(timedelta(days=15))
    with pytest.raises(NeedsReauth, match=SERVICE):
        host.get()


def test_disconnecting_revokes_at_the_provider(host: Host, provider: Provider) -> None:
    token = host.connect()
    other = host.connect("bob", "elsewhere")
    outcome = host.run(lambda tenant: tenant.disconnect(SERVICE))
    assert (outcome.deleted, outcome.revoked) == (True, True)
    assert host.stored is None
    assert provider.refresh(token).json()["error"] == "invalid_grant"
    assert provider.user_of(token) is None
    assert provider.user_of(other) == "bob"


def test_disconnecting_after_a_refresh_revokes_the_newest(host: Host, provider: Provider) -> None:
    host.connect()
    host.pass_time(TOKEN_LIFE)
    newest = host.get()
    assert host.run(lambda tenant: tenant.disconnect(SERVICE)).revoked
    assert provider.refresh(newest).json()["error"] == "invalid_grant"
    assert provider.user_of(newest) is None
