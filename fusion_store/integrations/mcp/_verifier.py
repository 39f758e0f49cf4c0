"""API tokens of the vault as the bearer tokens of an MCP server."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

from mcp.server.auth.provider import AccessToken, TokenVerifier

from fusion_store._async import AsyncTokenRepository
from fusion_store._interface import TokenRepository
from fusion_store._recall import recall_of
from fusion_store._values import APITokenMetadata
from fusion_store.http._threads import StoreThreads
from fusion_store.integrations._failures import NotedFailures

STORE_TIMEOUT: Final = 5.0


class Verification:
    """What every verifier does alike: ask a vault of either kind who a token belongs to, in threads of its own.

    It waits for ``store_timeout`` seconds at most; None: for as long as it takes.
    """

    def __init__(self, repository: TokenRepository | AsyncTokenRepository, store_timeout: float | None) -> None:
        if not isinstance(repository, AsyncTokenRepository):
            repository = AsyncTokenRepository(repository)
        self._vault = repository.repository
        self._recall = recall_of(self._vault)
        self._threads = StoreThreads(store_timeout)

    async def find_caller(self, token: str) -> APITokenMetadata | None:
        """The metadata of a live token; a failure of the store is told to the guard, and raised."""
        with NotedFailures():
            known = self._recall(token)
            return await self._threads.run(partial(self._vault.validate_api_token, token)) if known is None else known


def access_token_fields(token: str, caller: APITokenMetadata) -> dict[str, Any]:
    """The fields of the SDK's ``AccessToken`` for a caller, described at ``FusionTokenVerifier``."""
    return {
        "token": token,
        "client_id": caller.token_id,
        "scopes": list(caller.scopes),
        "expires_at": whole_seconds(caller.expires_at),
        "subject": caller.tenant_id,
        "claims": {"tenant": caller.tenant_hash},
    }


def whole_seconds(moment: datetime | None) -> int | None:
    """The second since 1970 in which a moment lies."""
    return None if moment is None else int(moment.timestamp())


class FusionTokenVerifier(TokenVerifier):
    """``token_verifier=`` of an MCP server: a request's bearer token is an API token of the vault.

    In the ``AccessToken``: ``client_id`` is the token's public id (``token_id``), ``subject`` the tenant's
    (``tenant_id``), ``claims["tenant"]`` the ``tenant_hash``; ``scopes`` and ``expires_at`` are the token's. The SDK
    binds a session to client, issuer and subject, so that a session belongs to one token of one tenant.

    ``repository`` may be of either kind; it is asked in threads, and stays the caller's to close. Each request is
    checked against it: a deleted token is refused from the next request on. While the store can't answer, or doesn't
    within ``store_timeout`` seconds (None: however long it takes), ``verify_token`` raises the vault's error; with
    ``FusionGuard`` around the application the client is answered 503.

    Every live API token of the vault is taken, whatever server it was issued for: leave
    ``AuthSettings.validate_token_resource`` False. Servers that share a vault and must not take each other's tokens
    use ``FusionAuthorizationServer``.
    """

    def __init__(
        self, repository: TokenRepository | AsyncTokenRepository, *, store_timeout: float | None = STORE_TIMEOUT
    ) -> None:
        self._verification = Verification(repository, store_timeout)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who the token stands for; None where it isn't live."""
        caller = await self._verification.find_caller(token)
        return None if caller is None else AccessToken(**access_token_fields(token, caller))
