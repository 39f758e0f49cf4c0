"""A token for the host itself (RFC 6749 section 4.4)."""

from __future__ import annotations

from fusion_store._values import OAuthTokenData
from fusion_store.auth._config import ServiceConfig
from fusion_store.auth._strategies._oauth2 import OAuth2Strategy, request_token
from fusion_store.auth._strategy import AuthContext


class ClientCredentials(OAuth2Strategy):
    """``oauth2_client_credentials``: a new token is had by asking again, so none is ever refreshed."""

    type = "oauth2_client_credentials"
    supports_refresh = False
    unattended = True

    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
        return await request_token(config, context, "client_credentials", scopes=config.scopes)
