"""What an MCP client keeps of its consent at a server."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from mcp.client.auth import OAuthFlowError, TokenStorage
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from mcp.shared.auth_utils import check_resource_allowed, resource_url_from_server_url

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import ConfigError, NeedsReauth
from fusion_store._interface import TokenRepository
from fusion_store._values import CredentialType, OAuthTokenData, ServiceCredentials
from fusion_store.auth import ServiceConfig
from fusion_store.auth._tokens import MAX_EXPIRES_IN, read_scope

_is_plain_name: Final = re.compile(r"[!-~]{1,255}").fullmatch


class FusionTokenStorage(TokenStorage):
    """``storage=`` of the SDK's ``OAuthClientProvider``: one tenant's consent at one MCP server, kept in the vault.

    It serves the first consent. On its own it prevents neither a race nor a stale token: the SDK reads the tokens once,
    never again, and doesn't learn when a stored one expires. So two processes may spend one refresh token, which
    ends the grant at servers that notice; a token that expired unseen is sent, refused, and answered by asking
    the user again, though it could have been refreshed. Once the user has consented, call the server with
    ``FusionAuth(tenant, storage.service, await storage.service_config())`` instead, which has neither flaw.

    Tokens are the tenant's OAuth token for the service ``service``, which is the server's URL; the client's
    registration, every field of it, is a credential of that service. Of a URL with user information or a query, which
    may hold secrets, the name has a short hash in their place.

    ``repository`` may be of either kind, and stays the caller's to close. Many storages, say one a tenant, share the
    threads of one ``AsyncTokenRepository``.
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
        self._asked: dict[str, Any] | None = None
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
        """Keep tokens, in place of standing ones; of the scopes as many as the vault holds."""
        metadata = self._asked
        if metadata is None:
            standing = await self._vault.get_oauth_token(self._tenant_hash, self.service)
            metadata = {} if standing is None else dict(standing.metadata)
        seconds = tokens.expires_in
        token = OAuthTokenData(
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            expires_at=None if seconds is None else self._clock() + timedelta(seconds=_bounded(seconds)),
            scope=read_scope(tokens.scope, self.service),
            metadata=metadata,
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

    async def forget(self) -> None:
        """Forget tokens and registration: the SDK registers anew, and asks the user."""
        await self._vault.delete_oauth_token(self._tenant_hash, self.service)
        await self._vault.delete_credentials(self._tenant_hash, self.service, CredentialType.CUSTOM)

    async def check_resource(self, server_url: str, resource: str | None) -> None:
        """``validate_resource_url=`` of the ``OAuthClientProvider``: its own check, and what it passes is kept.

        A server may be part of a larger resource (RFC 9728), for which the tokens are asked for then:
        ``service_config`` asks for the same again. ``OAuthFlowError`` where the server is no part of it.
        """
        server = resource_url_from_server_url(server_url)
        if resource is not None and not check_resource_allowed(server, resource):
            raise OAuthFlowError(f"{self.service}: the server publishes another one's resource")
        self._asked = {} if resource is None else {"resource": resource}

    async def service_config(self, *, issuer: str | None = None, token_url: str | None = None) -> ServiceConfig:
        """How ``AuthManager`` refreshes these tokens: what ``FusionAuth`` is given.

        ``issuer`` or ``token_url`` says where, for a registration that doesn't: one made by hand, or at a server
        without metadata. ``NeedsReauth`` before the first consent. ``ConfigError`` where nothing says where, and for a
        client with a secret of its own, which a configuration can't hold: register it with
        ``token_endpoint_auth_method="none"``.
        """
        client = await self.get_client_info()
        if client is None:
            raise NeedsReauth(f"{self.service}: the client isn't registered there: the user has to consent first")
        if client.client_secret is not None:
            raise ConfigError(f"{self.service}: the client has a secret; register it as a public one")
        issuer = issuer or client.issuer
        if issuer is None and token_url is None:
            raise ConfigError(f"{self.service}: the client's registration names no issuer: give issuer or token_url")
        token = await self._vault.get_oauth_token(self._tenant_hash, self.service)
        return ServiceConfig(
            type="oauth2_external",
            client_id=client.client_id,
            client_auth="none",
            issuer=issuer,
            token_url=token_url,
            resource=self._resource if token is None else token.metadata.get("resource", self._resource),
        )


def _service(url: str) -> str:
    """The name for a URL. Names aren't sealed, and stand in metrics and audit records."""
    parts = urlsplit(url)
    shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
    digest = sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
    name = url if shown == url else f"{shown}#{digest[:8]}"
    return name if _is_plain_name(name) else f"mcp:sha256:{digest}"


def _bounded(seconds: int) -> int:
    return max(-1, min(seconds, MAX_EXPIRES_IN))


def _now() -> datetime:
    return datetime.now(UTC)
