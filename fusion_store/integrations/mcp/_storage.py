"""What an MCP client keeps of its consent at a server."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from mcp.client.auth import TokenStorage
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from mcp.shared.auth_utils import resource_url_from_server_url

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import ConfigError, NeedsReauth
from fusion_store._interface import TokenRepository
from fusion_store._values import CredentialType, OAuthTokenData, ServiceCredentials
from fusion_store.auth import ServiceConfig
from fusion_store.auth._tokens import MAX_EXPIRES_IN

_is_plain_name: Final = re.compile(r"[!-~]{1,255}").fullmatch


class FusionTokenStorage(TokenStorage):
    """``storage=`` of the SDK's ``OAuthClientProvider``: one tenant's consent at one MCP server, kept in the vault.

    It serves the first consent. On its own it prevents neither a race nor a stale token: the SDK reads the tokens once,
    never again, and doesn't learn when a stored one expires. So two processes may spend one refresh token, which
    ends the grant at servers that notice; a token that expired unseen is sent, refused, and answered by asking
    the user again, though it could have been refreshed. Once the user has consented, call the server with
    ``FusionAuth(tenant, storage.service, await storage.service_config())`` instead, which has neither flaw.

    Tokens are the tenant's OAuth token for the service ``service``, which is the server's URL; the client's
    registration, every field of it, is a credential of that service. ``repository`` may be of either kind, and stays
    the caller's to close.
    """

    def __init__(
        self,
        repository: TokenRepository | AsyncTokenRepository,
        tenant_hash: str,
        server_url: str,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        if not isinstance(repository, AsyncTokenRepository):
            repository = AsyncTokenRepository(repository)
        self._vault = repository
        self._tenant_hash = tenant_hash
        self._resource = resource_url_from_server_url(server_url)
        self._clock = clock or _now
        self.service: Final = _service(self._resource)

    async def get_tokens(self) -> OAuthToken | None:
        """The tokens, with the seconds that the access token has left; None before the first consent."""
        token = await self._vault.get_oauth_token(self._tenant_hash, self.service)
        if token is None:
            return None
        left = None if token.expires_at is None else (token.expires_at - self._clock()).total_seconds()
        return OAuthToken(
            access_token=token.access_token,
            expires_in=None if left is None else max(int(left), 0),
            scope=" ".join(token.scope) or None,
            refresh_token=token.refresh_token,
        )

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keep tokens, in place of standing ones."""
        seconds = tokens.expires_in
        token = OAuthTokenData(
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            expires_at=None if seconds is None else self._clock() + timedelta(seconds=_bounded(seconds)),
            scope=tuple((tokens.scope or "").split()),
        )
        await self._vault.store_oauth_token(self._tenant_hash, self.service, token)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """The client's registration at the server; None before it registers."""
        kept = await self._vault.get_credentials(self._tenant_hash, self.service, CredentialType.CUSTOM)
        return None if kept is None else OAuthClientInformationFull.model_validate_json(kept.data["client"])

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Keep the client's registration."""
        data = {"client": client_info.model_dump_json(exclude_none=True)}
        kept = ServiceCredentials(CredentialType.CUSTOM, data)
        await self._vault.store_credentials(self._tenant_hash, self.service, kept)

    async def service_config(self) -> ServiceConfig:
        """How ``AuthManager`` refreshes these tokens: what ``FusionAuth`` is given.

        ``NeedsReauth`` before the first consent. ``ConfigError`` for a client with a secret of its own, which a
        configuration can't hold: register it with ``token_endpoint_auth_method="none"``.
        """
        client = await self.get_client_info()
        if client is None or client.issuer is None:
            raise NeedsReauth(f"{self.service}: the client isn't registered there: the user has to consent first")
        if client.client_secret is not None:
            raise ConfigError(f"{self.service}: the client has a secret; register it as a public one")
        return ServiceConfig(
            type="oauth2_external",
            client_id=client.client_id,
            client_auth="none",
            issuer=client.issuer,
            resource=self._resource,
        )


def _service(url: str) -> str:
    return url if _is_plain_name(url) else "mcp:sha256:" + sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


def _bounded(seconds: int) -> int:
    return max(-1, min(seconds, MAX_EXPIRES_IN))


def _now() -> datetime:
    return datetime.now(UTC)
