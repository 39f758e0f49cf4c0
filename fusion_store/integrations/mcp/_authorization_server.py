"""An OAuth 2.1 authorization server for MCP clients, kept in the vault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl, ValidationError

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import AuthError, EncryptionError, InvalidInput, StoreError, TenantNotFound, VersionConflict
from fusion_store._interface import TokenRepository
from fusion_store.integrations._failures import NotedFailures
from fusion_store.integrations.mcp._clients import Clients
from fusion_store.integrations.mcp._consent import Asked, ConsentRequest, Tickets, asked_scopes, consent_request
from fusion_store.integrations.mcp._grants import Ended, Grant, Grants, Name, Tokens, code_string, grant_name, read_code
from fusion_store.integrations.mcp._registrations import MAX_UNUSED_CLIENTS, Registrations
from fusion_store.integrations.mcp._verifier import STORE_TIMEOUT, Verification, access_token_fields, whole_seconds

_CODE: Final = "mcp.code"
_MAX_REQUEST_BYTES: Final = 4096

AskForConsent = Callable[[ConsentRequest], Awaitable[str]]
"""Answers the URL to which the user's browser is sent next: the host's consent page, with the request's ticket."""


@dataclass(frozen=True)
class Lifetimes:
    """How long things live.

    - ``access_token``; ``refresh_token``: each one, so a client that comes back in time keeps its grant.
    - ``code``: an authorization code.
    - ``consent``: from the client's request to the user's answer.
    - ``unused_client``: a client that registers by itself and that no user consents to.
    - ``client``: one that is used, from its last token on, or a day longer.
    """

    access_token: timedelta = timedelta(hours=1)
    refresh_token: timedelta = timedelta(days=30)
    code: timedelta = timedelta(minutes=5)
    consent: timedelta = timedelta(minutes=10)
    unused_client: timedelta = timedelta(days=1)
    client: timedelta = timedelta(days=90)


class GrantedCode(AuthorizationCode):
    """A code that was taken from the vault."""

    grant: Grant


class GrantedRefreshToken(RefreshToken):
    """A live refresh token, with the grant as it was read."""

    grant: Grant


class GrantedAccessToken(AccessToken):
    """A live access token of a grant."""

    grant: Grant


class FusionAuthorizationServer(OAuthAuthorizationServerProvider[GrantedCode, GrantedRefreshToken, AccessToken]):
    """``auth_server_provider=`` of an MCP server: clients register, users consent, and tokens are the vault's.

    Who the user is and whether they consent is the host's to find out. ``consent`` is given a ``ConsentRequest`` and
    answers the URL of the host's page, with the ``ticket`` in it. That page signs the user in, asks, and sends the
    browser on to what ``approve(ticket, tenant_hash)`` or ``deny(ticket)`` answers. ``pending(ticket)`` is the request
    again. Who can have a ticket approved gives his own tenant away, so the page must be one that no other
    site can post to.

    - An access token is an API token of the tenant: every verifier of the vault takes it. In the ``AccessToken`` here
      ``client_id`` is the client's, so that a session outlives the token, ``resource`` what the client asked for
      (RFC 8707); the rest is as ``FusionTokenVerifier`` says. Other API tokens are taken as they are there.
    - With ``resource=settings.resource_server_url`` no client is given a token for another server, and one that another
      server on this vault gave is refused, also where that server has no ``resource``.
    - A refresh token is good once. Used again, it ends the grant with all its tokens; so does a code (RFC 9700).
    - Revoking (RFC 7009) ends the grant. It never deletes the tenant, also where no other token is left.
    - Clients that register by themselves are limited, as ``Lifetimes`` and ``max_unused_clients`` (up to 1000) say; a
      redirect URI must be https, loopback or an app's own scheme: one with a period (RFC 8252 section 7.1), or of a
      known client. ``add_client`` takes one the host knows, with any.

    Clients, codes and grants lie in the vault, all that is secret in payloads, which an encrypted vault seals. With
    ``issuer=settings.issuer_url`` of the ``AuthSettings`` redirects name it (RFC 9207); clients compare it letter by
    letter. ``repository`` may be of either kind, and stays the caller's to close. While the store can't answer, its
    error is raised; with ``FusionGuard`` around the application the client is answered 503. The check of a
    bearer token waits for ``store_timeout`` seconds at most.
    """

    def __init__(
        self,
        repository: TokenRepository | AsyncTokenRepository,
        consent: AskForConsent,
        *,
        issuer: AnyHttpUrl | str | None = None,
        resource: AnyHttpUrl | str | None = None,
        lifetimes: Lifetimes | None = None,
        max_unused_clients: int = MAX_UNUSED_CLIENTS,
        store_timeout: float | None = STORE_TIMEOUT,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        last = lifetimes or Lifetimes()
        clock = clock or _now
        if not isinstance(repository, AsyncTokenRepository):
            repository = AsyncTokenRepository(repository)
        self._vault = repository
        self._verification = Verification(repository, store_timeout)
        self._ask = consent
        self._issuer = None if issuer is None else str(issuer)
        self._resource = None if resource is None else str(resource)
        self._lifetimes = last
        self._clock = clock
        self._tickets = Tickets(self._vault, clock, last.consent)
        registrations = Registrations(self._vault, clock, last.unused_client, max_unused_clients)
        self._clients = Clients(self._vault, clock, registrations, last.client)
        self._grants = Grants(
            self._vault, clock, access_lifetime=last.access_token, refresh_lifetime=last.refresh_token
        )

    # Clients

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        """A registered client; None for an unknown or forgotten one."""
        with NotedFailures():
            return await self._clients.find(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        """Keep a client that registers by itself; ``RegistrationError`` where it can't be."""
        with NotedFailures():
            await self._clients.register(client_info)

    async def add_client(self, client_info: OAuthClientInformationFull) -> None:
        """Keep a client that the host knows. It doesn't expire, and replaces one with its id."""
        with NotedFailures():
            await self._clients.add(client_info)

    # Consent

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        """The URL to which the user's browser is sent: what ``consent`` answers."""
        params = params.model_copy(update={"resource": params.resource or self._resource})
        if not self._is_mine(params.resource):
            raise AuthorizeError("invalid_target", "The resource isn't this server")
        asked = Asked(client_id=client.client_id, params=params)
        if len(asked.model_dump_json().encode()) > _MAX_REQUEST_BYTES:
            raise AuthorizeError("invalid_request", "The request is longer than 4 KiB")
        try:
            ticket = await self._tickets.seal(asked)
        except (StoreError, EncryptionError):
            raise AuthorizeError("temporarily_unavailable", "The store can't be asked now") from None
        return await self._ask(consent_request(ticket, client, params))

    async def pending(self, ticket: str) -> ConsentRequest | None:
        """The request of a ticket; None when it has expired, was tampered with, or its client is gone."""
        with NotedFailures():
            asked = await self._tickets.open(ticket)
            client = None if asked is None else await self._clients.find(asked.client_id)
        return None if asked is None or client is None else consent_request(ticket, client, asked.params)

    async def approve(self, ticket: str, tenant_hash: str, *, scopes: Sequence[str] | None = None) -> str:
        """A tenant's user consents, to ``scopes`` or to all that were asked for; answers where to send the browser.

        Raises ``AuthError`` for what is no live ticket, ``TenantNotFound``, and ``InvalidInput`` for scopes that
        weren't asked for.
        """
        asked = await self._asked(ticket)
        with NotedFailures():
            client = await self._clients.find(asked.client_id)
        if client is None:
            raise AuthError("the client is registered no longer")
        offered = asked_scopes(client, asked.params)
        granted = offered if scopes is None else tuple(dict.fromkeys(scopes))
        if not set(granted) <= set(offered):
            raise InvalidInput("scopes", "must be among those that were asked for")
        payload = {"asked": asked.model_dump_json(), "scopes": list(granted)}
        with NotedFailures():
            code = await self._vault.create_auth_code(tenant_hash, _CODE, ttl=self._lifetimes.code, payload=payload)
        return self._back(asked, code=code_string(tenant_hash, code))

    async def deny(self, ticket: str) -> str:
        """The user refuses; answers where to send the browser. ``AuthError`` for what is no live ticket."""
        return self._back(await self._asked(ticket), error="access_denied")

    async def _asked(self, ticket: str) -> Asked:
        with NotedFailures():
            asked = await self._tickets.open(ticket)
        if asked is None:
            raise AuthError("the request for consent has expired, or there was none")
        return asked

    def _back(self, asked: Asked, **answer: str) -> str:
        params = asked.params
        return construct_redirect_uri(str(params.redirect_uri), **answer, state=params.state, iss=self._issuer)

    # Tokens

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> GrantedCode | None:
        """Take a code; None for anything that isn't a live one. One that was taken before ends its grant."""
        parsed = read_code(authorization_code)
        if parsed is None:
            return None
        name, code = parsed
        with NotedFailures():
            taken = await self._vault.redeem_auth_code(code)
            if taken is None:
                await self._grants.end(name, client.client_id)
                return None
        if (taken.tenant_hash, taken.service) != (name.tenant_hash, _CODE):
            return None
        asked, scopes = Asked.model_validate_json(taken.payload["asked"]), taken.payload["scopes"]
        params = asked.params
        grant = Grant(name, asked.client_id, tuple(scopes), params.resource, expires_at=taken.expires_at)
        try:
            with NotedFailures():
                grant = await self._grants.prepare(grant)
        except TenantNotFound:
            return None
        return GrantedCode(
            code=authorization_code,
            client_id=asked.client_id,
            scopes=scopes,
            expires_at=taken.expires_at.timestamp(),
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
            subject=_subject(name),
            grant=grant,
        )

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: GrantedCode
    ) -> OAuthToken:
        """The first tokens of a grant; the client is kept from now on."""
        with NotedFailures():
            await self._clients.keep(client.client_id)
            try:
                tokens = await self._grants.begin(
                    authorization_code.grant, with_refresh="refresh_token" in client.grant_types
                )
            except TenantNotFound:
                raise TokenError("invalid_grant", "the tenant is gone") from None
            except VersionConflict:
                raise TokenError("invalid_grant", "the code was used again") from None
            except InvalidInput:
                raise _too_many_scopes() from None
        return self._token(tokens)

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> GrantedRefreshToken | None:
        """A live refresh token of the client; None for anything else. A spent one ends its grant."""
        with NotedFailures():
            grant = await self._grants.of_refresh_token(refresh_token, client.client_id)
        if grant is None:
            return None
        return GrantedRefreshToken(
            token=refresh_token,
            client_id=grant.client_id,
            scopes=list(grant.scopes),
            expires_at=whole_seconds(grant.expires_at),
            resource=grant.resource,
            subject=_subject(grant.name),
            grant=grant,
        )

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: GrantedRefreshToken, scopes: list[str]
    ) -> OAuthToken:
        """The next tokens, the access token with ``scopes``; the refresh token keeps those that were granted."""
        with NotedFailures():
            await self._clients.keep(client.client_id)
            try:
                tokens = await self._grants.renew(refresh_token.grant, tuple(dict.fromkeys(scopes)))
            except (Ended, TenantNotFound):
                raise TokenError("invalid_grant", "refresh token does not exist") from None
            except InvalidInput:
                raise _too_many_scopes() from None
        return self._token(tokens)

    async def load_access_token(self, token: str) -> AccessToken | None:
        """Who a bearer token stands for; None where it isn't live."""
        caller = await self._verification.find_caller(token)
        if caller is None:
            return None
        fields = access_token_fields(token, caller)
        if grant_name(caller) is None:
            return AccessToken(**fields)
        with NotedFailures():
            grant = await self._grants.of_access_token(caller)
        if grant is None or not self._is_mine(grant.resource):
            return None
        return GrantedAccessToken(**(fields | {"client_id": grant.client_id, "resource": grant.resource}), grant=grant)

    async def revoke_token(self, token: AccessToken | GrantedRefreshToken) -> None:
        """End the grant of a token; one that no client was given is left alone."""
        if isinstance(token, GrantedAccessToken | GrantedRefreshToken):
            with NotedFailures():
                await self._grants.end(token.grant.name)

    def _is_mine(self, resource: str | None) -> bool:
        return self._resource is None or _canonical(resource) == _canonical(self._resource)

    def _token(self, tokens: Tokens) -> OAuthToken:
        return OAuthToken(
            access_token=tokens.access.token,
            expires_in=int(self._lifetimes.access_token.total_seconds()),
            scope=" ".join(tokens.access.metadata.scopes) or None,
            refresh_token=tokens.refresh,
        )


def _canonical(url: str | None) -> str:
    """A URL as it compares: case and port of the host don't matter, nor does a slash at the end."""
    try:
        return str(AnyHttpUrl(url or "")).removesuffix("/")
    except ValidationError:
        return url or ""


def _too_many_scopes() -> TokenError:
    return TokenError("invalid_scope", "the scopes are too many or too long")


def _subject(name: Name) -> str:
    return name.tenant_hash[:16]


def _now() -> datetime:
    return datetime.now(UTC)
