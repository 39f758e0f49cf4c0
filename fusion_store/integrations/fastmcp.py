"""FastMCP: API tokens of the vault as the bearer tokens of a server.

What its ``OAuthProxy(client_storage=…)``, its client's ``OAuth(token_storage=…)`` and the like keep goes into the vault
by ``fusion_store.integrations.key_value``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import FusionStoreError
from fusion_store._interface import TokenRepository
from fusion_store.integrations._extras import missing

try:
    from fastmcp.server import auth as peer
    from starlette.middleware import Middleware
except ImportError as error:
    raise missing("fastmcp", "fastmcp") from error

from fusion_store.integrations.mcp import FusionGuard
from fusion_store.integrations.mcp._verifier import STORE_TIMEOUT, Verification, access_token_fields

if TYPE_CHECKING:
    from pydantic import AnyHttpUrl

__all__ = ["FusionGuard", "FusionTokenVerifier"]

# FastMCP 4.2 tells a verifier that couldn't ask from one that doesn't know the token.
_CannotVerify: Final[type[Exception]] = getattr(peer, "TokenVerificationError", RuntimeError)


class FusionTokenVerifier(peer.TokenVerifier):
    """``auth=`` of a server, or one of the ``verifiers`` of ``MultiAuth``: a bearer token is an API token of the vault.

    The ``AccessToken`` is that of ``fusion_store.integrations.mcp.FusionTokenVerifier``; a request without all of
    ``required_scopes`` is answered 403. ``base_url`` and ``resource_base_url`` are FastMCP's.

    ``repository`` may be of either kind; it is asked in threads, and stays the caller's to close. Each request is
    checked against it: a deleted token is refused from the next request on.

    While the store can't answer, or doesn't within ``store_timeout`` seconds (None: however long it takes),
    ``verify_token`` raises, and as ``auth=`` this brings the ``FusionGuard`` that makes a
    503 of it. ``MultiAuth`` and ``RemoteAuthProvider`` don't ask their verifiers for middleware: with these, put the
    guard around the application, ``FusionGuard(server.http_app())``, or clients are told 401 or 500.
    """

    def __init__(
        self,
        repository: TokenRepository | AsyncTokenRepository,
        *,
        required_scopes: list[str] | None = None,
        base_url: AnyHttpUrl | str | None = None,
        resource_base_url: AnyHttpUrl | str | None = None,
        store_timeout: float | None = STORE_TIMEOUT,
    ) -> None:
        super().__init__(base_url, required_scopes, resource_base_url)
        self._verification = Verification(repository, store_timeout)

    async def verify_token(self, token: str) -> peer.AccessToken | None:
        """Who the token stands for; None where it isn't live."""
        try:
            caller = await self._verification.find_caller(token)
        except FusionStoreError as error:
            raise _CannotVerify(f"{type(error).__name__}: {error}") from error
        return None if caller is None else peer.AccessToken(**access_token_fields(token, caller))

    def get_middleware(self) -> list[Any]:
        """FastMCP's, within the guard."""
        return [Middleware(FusionGuard), *super().get_middleware()]
