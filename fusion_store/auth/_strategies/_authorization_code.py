"""Consent in the user's browser on this machine (RFC 6749 section 4.1, RFC 7636, RFC 8252)."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from fusion_store._errors import AuthError, RefreshFailed
from fusion_store._values import OAuthTokenData
from fusion_store.auth._config import ServiceConfig
from fusion_store.auth._discovery import discover
from fusion_store.auth._http import missing, with_query
from fusion_store.auth._strategies._loopback import Loopback
from fusion_store.auth._strategies._oauth2 import OAuth2Strategy, endpoint, request_token, resource, scope
from fusion_store.auth._strategy import AuthContext, BrowserPrompt
from fusion_store.auth._tokens import refusal

CONSENT_SECONDS: Final = 300.0
"""How long the user has."""


class AuthorizationCode(OAuth2Strategy):
    """``oauth2_authorization_code``: with PKCE (S256), a state, and a redirect to loopback."""

    type = "oauth2_authorization_code"

    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
        """Send the user to the provider, wait until the browser comes back, and redeem its code.

        ``AuthError`` when the user refuses or takes longer than five minutes.
        """
        url = await endpoint(config, context, "authorization_url")
        client_id = await asyncio.to_thread(config.find_client_id)
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        async with Loopback(config.redirect_uri, state) as loopback:
            query = {
                **config.authorization_parameters,
                "response_type": "code",
                "client_id": client_id,
                "redirect_uri": loopback.redirect_uri,
                **scope(config.scopes),
                **resource(config),
                "state": state,
                "code_challenge": _challenge(verifier),
                "code_challenge_method": "S256",
            }
            await context.prompt(BrowserPrompt(context.service, with_query(url, query)))
            response = await loopback.wait(context.sleep, CONSENT_SECONDS)
        if response is None:
            raise AuthError(f"{context.service}: the user didn't consent in time")
        await _check_issuer(config, context, response)
        if "error" in response:
            raise _refused(response["error"], context.service)
        if not response.get("code"):
            raise RefreshFailed(f"{context.service}: the provider's redirect has no usable code")
        return await request_token(
            config,
            context,
            "authorization_code",
            code=response["code"],
            redirect_uri=loopback.redirect_uri,
            code_verifier=verifier,
        )


def _challenge(verifier: str) -> str:
    try:
        from fusion_store.auth._oauth_client import create_s256_code_challenge
    except ImportError:
        raise missing("Authlib or httpx2") from None

    return str(create_s256_code_challenge(verifier))


async def _check_issuer(config: ServiceConfig, context: AuthContext, response: dict[str, str]) -> None:
    """Refuse a response of another server than the one that was asked (RFC 9207)."""
    if config.issuer is None:
        return
    issuer = response.get("iss")
    if issuer is None and config.authorization_url is None:
        expected = (await discover(context.http, config.issuer)).sends_issuer
    else:
        expected = issuer is not None
    if expected and not secrets.compare_digest((issuer or "").encode(), config.issuer.encode()):
        raise RefreshFailed(f"{context.service}: the redirect comes from another issuer than the configured one")


def _refused(error: str, service: str) -> AuthError:
    if error == "access_denied":
        return AuthError(f"{service}: the user refused")
    return refusal(error, service)
