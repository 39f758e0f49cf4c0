"""Tokens that another program brings."""

from __future__ import annotations

from fusion_store._errors import NeedsReauth
from fusion_store._values import OAuthTokenData
from fusion_store.auth._config import ServiceConfig
from fusion_store.auth._strategies._oauth2 import OAuth2Strategy
from fusion_store.auth._strategy import AuthContext


class External(OAuth2Strategy):
    """``oauth2_external``: consent happens elsewhere, and ``push_token`` brings the outcome.

    With a ``token_url`` or ``issuer`` and a ``client_id`` the token is refreshed here; else the other program pushes a
    new one.
    """

    type = "oauth2_external"

    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:  # noqa: ARG002
        """``NeedsReauth``: only a pushed token helps."""
        raise _needs_push(context)

    async def refresh(self, config: ServiceConfig, token: OAuthTokenData, context: AuthContext) -> OAuthTokenData:
        """``NeedsReauth`` where nothing says how to refresh."""
        if config.token_url is None and config.issuer is None:
            raise _needs_push(context)
        return await super().refresh(config, token, context)


def _needs_push(context: AuthContext) -> NeedsReauth:
    return NeedsReauth(f"{context.service}: no live token was pushed: the program that signs in there has to push one")
