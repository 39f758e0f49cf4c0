"""Tokens that another program brings, against a code that works once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from fusion_store import AsyncTokenRepository, AuthError, InvalidInput, NeedsReauth, OAuthTokenData, get_repository
from fusion_store.auth import ServiceConfig
from fusion_store.auth._external import push_token
from fusion_store.auth._strategies import built_in
from fusion_store.testing import ManualClock
from tests.auth.provider import Provider
from tests.auth.strategies.surroundings import Surroundings

EXTERNAL = built_in()["oauth2_external"]
TTL = timedelta(minutes=10)


def test_without_a_pushed_token_the_user_has_to_act(surroundings: Surroundings) -> None:
    assert not EXTERNAL.unattended
    with pytest.raises(NeedsReauth, match="acme: no live token was pushed"):
        surroundings.run(lambda context: EXTERNAL.authenticate(ServiceConfig(type="oauth2_external"), context))


def test_where_nothing_says_how_to_refresh_another_push_is_needed(
    provider: Provider, surroundings: Surroundings
) -> None:
    token = OAuthTokenData("a", "r")
    with pytest.raises(NeedsReauth, match="no live token was pushed"):
        surroundings.run(lambda context: EXTERNAL.refresh(ServiceConfig(type="oauth2_external"), token, context))
    assert provider.requests == []


def test_a_pushed_token_is_stored_where_the_code_says() -> None:
    async def main() -> None:
        async with AsyncTokenRepository(get_repository("memory://")) as vault:
            tenant, other = [(await vault.add_api_token()).hash for _ in range(2)]
            await vault.store_oauth_token(tenant, "acme", OAuthTokenData("old"))
            code = await vault.create_auth_code(tenant, "acme", ttl=TTL)
            stored = await push_token(vault, code, OAuthTokenData("a", "r"))
            assert (stored.access_token, stored.version) == ("a", 2)
            assert await vault.list_oauth_tokens(tenant) == {"acme": stored}
            assert await vault.list_oauth_tokens(other) == {}

    asyncio.run(main())


def test_a_code_works_once() -> None:
    async def main() -> None:
        async with AsyncTokenRepository(get_repository("memory://")) as vault:
            tenant = (await vault.add_api_token()).hash
            code = await vault.create_auth_code(tenant, "acme", ttl=TTL)
            pushes = [push_token(vault, code, OAuthTokenData(f"a{n}")) for n in range(10)]
            outcomes = await asyncio.gather(*pushes, return_exceptions=True)
            (stored,) = [outcome for outcome in outcomes if isinstance(outcome, OAuthTokenData)]
            assert all(isinstance(outcome, OAuthTokenData | AuthError) for outcome in outcomes)
            assert await vault.get_oauth_token(tenant, "acme") == stored

    asyncio.run(main())


@pytest.mark.parametrize("code", ["", "unknown", "x" * 43])
def test_an_unknown_code(code: str) -> None:
    async def main() -> None:
        async with AsyncTokenRepository(get_repository("memory://")) as vault:
            with pytest.raises(AuthError, match="the code isn't live"):
                await push_token(vault, code, OAuthTokenData("a"))

    asyncio.run(main())


def test_an_expired_code() -> None:
    async def main() -> None:
        clock = ManualClock()
        async with AsyncTokenRepository(get_repository("memory://", clock=clock)) as vault:
            tenant = (await vault.add_api_token()).hash
            code = await vault.create_auth_code(tenant, "acme", ttl=TTL)
            clock.advance(TTL)
            with pytest.raises(AuthError, match="the code isn't live"):
                await push_token(vault, code, OAuthTokenData("a"))
            assert await vault.get_oauth_token(tenant, "acme") is None

    asyncio.run(main())


def test_a_token_that_can_t_be_stored_leaves_the_code_as_it_is() -> None:
    async def main() -> None:
        async with AsyncTokenRepository(get_repository("memory://")) as vault:
            tenant = (await vault.add_api_token()).hash
            code = await vault.create_auth_code(tenant, "acme", ttl=TTL)
            with pytest.raises(InvalidInput, match="access_token"):
                await push_token(vault, code, OAuthTokenData(""))
            assert (await push_token(vault, code, OAuthTokenData("a"))).version == 1

    asyncio.run(main())
