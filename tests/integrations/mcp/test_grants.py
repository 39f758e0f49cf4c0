"""Grants that end while others are at work on the same vault: the tokens die, the tenant never."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mcp.shared.auth import OAuthToken

from fusion_store import CredentialType, ServiceCredentials, TokenRepository, get_repository
from fusion_store._audit import AuditEntry
from fusion_store._records import APITokenRecord
from fusion_store.backend import RecordRepository
from fusion_store.integrations.mcp import FusionAuthorizationServer
from fusion_store.layers import Layer
from tests.integrations.mcp.test_provider import CLIENT, PARAMS, code_in, make

Step = Callable[[FusionAuthorizationServer, str, OAuthToken], Coroutine[Any, Any, None]]


class Purged(Layer):
    """A vault that is purged by somebody else before and after each token that goes."""

    def replace_api_token(
        self, old: APITokenRecord, new: APITokenRecord, old_expires_at: int | None, *, audit: AuditEntry | None = None
    ) -> bool:
        self.inner.purge_expired()
        replaced = self.inner.replace_api_token(old, new, old_expires_at, audit=audit)
        self.inner.purge_expired()
        return replaced

    def remove_api_token(self, hash: str, *, audit: AuditEntry | None = None) -> bool:
        self.inner.purge_expired()
        removed = self.inner.remove_api_token(hash, audit=audit)
        self.inner.purge_expired()
        return removed


async def sign_in(server: FusionAuthorizationServer, vault: TokenRepository) -> tuple[str, str, OAuthToken]:
    """A tenant whose only token is its client's: its hash, the code, and the tokens."""
    user = vault.add_api_token()
    vault.store_credentials(user.hash, "mail", ServiceCredentials(CredentialType.API_KEY, {"key": "k"}))
    code = code_in(await server.approve(await server.authorize(CLIENT, PARAMS), user.hash))
    taken = await server.load_authorization_code(CLIENT, code)
    assert taken is not None
    tokens = await server.exchange_authorization_code(CLIENT, taken)
    vault.delete_api_token(user.hash)
    return user.hash, code, tokens


async def revoke_access_token(server: FusionAuthorizationServer, _: str, tokens: OAuthToken) -> None:
    access = await server.load_access_token(tokens.access_token)
    assert access is not None
    await server.revoke_token(access)


async def revoke_refresh_token(server: FusionAuthorizationServer, _: str, tokens: OAuthToken) -> None:
    assert tokens.refresh_token is not None
    refresh = await server.load_refresh_token(CLIENT, tokens.refresh_token)
    assert refresh is not None
    await server.revoke_token(refresh)


async def use_the_code_again(server: FusionAuthorizationServer, code: str, _: OAuthToken) -> None:
    assert await server.load_authorization_code(CLIENT, code) is None


async def use_the_refresh_token_again(server: FusionAuthorizationServer, _: str, tokens: OAuthToken) -> None:
    assert tokens.refresh_token is not None
    refresh = await server.load_refresh_token(CLIENT, tokens.refresh_token)
    assert refresh is not None
    await server.exchange_refresh_token(CLIENT, refresh, ["read"])
    assert await server.load_refresh_token(CLIENT, tokens.refresh_token) is None


async def race_with_the_refresh_token(server: FusionAuthorizationServer, _: str, tokens: OAuthToken) -> None:
    assert tokens.refresh_token is not None
    refresh = await server.load_refresh_token(CLIENT, tokens.refresh_token)
    assert refresh is not None
    racing = [server.exchange_refresh_token(CLIENT, refresh, ["read"]) for _ in range(4)]
    await asyncio.gather(*racing, return_exceptions=True)


ENDINGS: list[Step] = [
    revoke_access_token,
    revoke_refresh_token,
    use_the_code_again,
    use_the_refresh_token_again,
    race_with_the_refresh_token,
]


async def has_ended(
    server: FusionAuthorizationServer, vault: TokenRepository, tenant_hash: str, tokens: OAuthToken
) -> bool:
    """Whether the client's tokens are dead, and the tenant is as it was."""
    assert tokens.refresh_token is not None
    is_dead = vault.validate_api_token(tokens.access_token) is None
    is_spent = await server.load_refresh_token(CLIENT, tokens.refresh_token) is None
    return is_dead and is_spent and vault.list_credentials(tenant_hash).keys() == {("mail", CredentialType.API_KEY)}


@pytest.mark.parametrize("end", ENDINGS)
def test_a_purge_at_any_moment_leaves_the_tenant(vault: TokenRepository, end: Step) -> None:
    assert isinstance(vault, RecordRepository)
    server = make(Purged(vault))

    async def run() -> None:
        await server.register_client(CLIENT)
        tenant_hash, code, tokens = await sign_in(server, vault)
        await end(server, code, tokens)
        assert await has_ended(server, vault, tenant_hash, tokens)
        vault.purge_expired()
        assert vault.get_tenant(tenant_hash) is not None

    asyncio.run(run())


def test_a_purge_that_never_ends_takes_no_tenant() -> None:
    stop = threading.Event()

    async def run(vault: TokenRepository) -> None:
        server = make(vault)
        await server.register_client(CLIENT)
        for _ in range(20):
            for end in ENDINGS:
                tenant_hash, code, tokens = await sign_in(server, vault)
                await end(server, code, tokens)
                assert await has_ended(server, vault, tenant_hash, tokens)

    def purge(vault: TokenRepository) -> None:
        while not stop.is_set():
            vault.purge_expired()

    with get_repository("memory://") as vault, ThreadPoolExecutor(1) as threads:
        purging = threads.submit(purge, vault)
        try:
            asyncio.run(run(vault))
        finally:
            stop.set()
        purging.result()
