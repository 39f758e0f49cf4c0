"""What all OAuth 2.0 strategies share: the token request, refresh, revocation, use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fusion_store._errors import AuthError, ConfigError
from fusion_store._values import OAuthTokenData
from fusion_store.auth._config import ServiceConfig
from fusion_store.auth._discovery import ServerMetadata, discover
from fusion_store.auth._http import Answer, missing
from fusion_store.auth._placement import place
from fusion_store.auth._strategy import AuthContext, RequestAuth, Secret, Strategy
from fusion_store.auth._tokens import read_answer, read_token

if TYPE_CHECKING:
    from fusion_store.auth._oauth_client import OAuthClient


class OAuth2Strategy(Strategy):
    """A token from a token endpoint, refreshed there (RFC 6749 section 6) and revoked beside it (RFC 7009)."""

    supports_refresh = True

    async def refresh(self, config: ServiceConfig, token: OAuthTokenData, context: AuthContext) -> OAuthTokenData:
        if token.refresh_token is None:
            raise AuthError(f"{context.service}: the token has no refresh token")
        return await request_token(config, context, "refresh_token", old=token, refresh_token=token.refresh_token)

    async def revoke(self, config: ServiceConfig, token: OAuthTokenData, context: AuthContext) -> bool:
        """The refresh token, since its access tokens go with it; the access token where there is none."""
        url = config.revocation_url
        if url is None and config.issuer is not None:
            url = (await discover(context.http, config.issuer)).revocation_endpoint
        if url is None:
            return False
        hint = "access_token" if token.refresh_token is None else "refresh_token"
        form = {"token": token.refresh_token or token.access_token, "token_type_hint": hint}
        answer = await post_form(config, context, url, form)
        if not answer.ok:
            read_answer(answer, context.service)
        return answer.ok

    def apply(self, config: ServiceConfig, secret: Secret) -> RequestAuth:
        assert isinstance(secret, OAuthTokenData)
        return place(config, secret.access_token)


async def request_token(
    config: ServiceConfig,
    context: AuthContext,
    grant_type: str,
    *,
    old: OAuthTokenData | None = None,
    scopes: tuple[str, ...] = (),
    **form: str,
) -> OAuthTokenData:
    """Ask the token endpoint; the answer is read as ``read_token`` says, its expiry counted from before the request."""
    url = await endpoint(config, context, "token_url")
    asked_at = context.clock()

    def read(answer: Answer) -> OAuthTokenData:
        return read_token(
            read_answer(answer, context.service),
            context.service,
            asked_at,
            old=old,
            requested_scope=config.scopes,
            scope_separator=config.scope_separator,
            default_expires_in=config.expires_in,
        )

    # In the body, since Authlib takes some names of keyword arguments for options of the client.
    body = urlencode({**config.token_parameters, **resource(config)})
    async with await _client(config, context, read) as client:
        token = await client.fetch_token(url, body=body, grant_type=grant_type, **scope(scopes), **form)
    assert isinstance(token, OAuthTokenData)
    return token


async def post_form(config: ServiceConfig, context: AuthContext, url: str, form: dict[str, str]) -> Answer:
    """POST a form as the configured client."""
    async with await _client(config, context, lambda answer: answer) as client:
        answer: Answer = await client.post_form(url, form)
    return answer


async def endpoint(config: ServiceConfig, context: AuthContext, field: str) -> str:
    """The endpoint that the configuration gives in ``field``, else the discovered one; else ``ConfigError``."""
    url: str | None = getattr(config, field)
    if url is None and config.issuer is not None:
        metadata = await discover(context.http, config.issuer)
        url = getattr(metadata, field.removesuffix("url") + "endpoint")
    if url is None:
        raise ConfigError(f"{context.service}: {field}: neither given nor published by the issuer")
    return url


def resource(config: ServiceConfig) -> dict[str, str]:
    """The resource indicator (RFC 8707), where one is configured."""
    return {} if config.resource is None else {"resource": config.resource}


def scope(scopes: tuple[str, ...]) -> dict[str, str]:
    """The scope parameter; none for no scopes."""
    return {"scope": " ".join(scopes)} if scopes else {}


async def _client(config: ServiceConfig, context: AuthContext, read: Callable[[Answer], Any]) -> OAuthClient:
    try:
        from fusion_store.auth._oauth_client import OAuthClient
    except ImportError:
        raise missing("Authlib or httpx2") from None

    # References may be to files.
    secret = await asyncio.to_thread(config.find_client_secret)
    return OAuthClient(
        context.http,
        read,
        client_id=await asyncio.to_thread(config.find_client_id),
        client_secret=secret,
        token_endpoint_auth_method=await _client_auth(config, context, secret),
    )


async def _client_auth(config: ServiceConfig, context: AuthContext, secret: str | None) -> str:
    if config.client_auth is not None:
        return config.client_auth
    if secret is None:
        return "none"
    # Asked only where the endpoints come from there too: else one more server could fail.
    if config.token_url is None and config.issuer is not None:
        return _preferred(await discover(context.http, config.issuer))
    return "client_secret_basic"


def _preferred(metadata: ServerMetadata) -> str:
    methods = metadata.token_endpoint_auth_methods_supported
    if "client_secret_basic" not in methods and "client_secret_post" in methods:
        return "client_secret_post"
    return "client_secret_basic"
