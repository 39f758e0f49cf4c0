"""Authlib's client with this library's HTTP under it. Importing this module needs both libraries."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import httpx2
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuth2ClientAuth
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from fusion_store.auth._http import Answer

if TYPE_CHECKING:
    from fusion_store.auth._http import HTTP

__all__ = ["OAuthClient", "create_s256_code_challenge"]


class _Transport(httpx2.AsyncBaseTransport):
    """Sends through an ``HTTP``, so that its bounds hold for Authlib too."""

    def __init__(self, http: HTTP) -> None:
        self._http = http

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._http.send(request)
        return httpx2.Response(answer.status, content=answer.body)


class _ClientAuth(OAuth2ClientAuth):  # type: ignore[misc]  # Authlib has no types
    """Authlib's own takes the form apart as bytes, and fails on what isn't ASCII."""

    def prepare(self, method: str, uri: str, headers: Any, body: bytes) -> Any:
        return super().prepare(method, uri, headers, body.decode("ascii"))


def _basic(client: Any, _method: str, uri: str, headers: Any, body: str) -> tuple[str, Any, str]:
    """``client_secret_basic``: Authlib's own doesn't encode id and secret as RFC 6749 section 2.3.1 has it."""
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return uri, headers, body


class OAuthClient(AsyncOAuth2Client):  # type: ignore[misc]
    """One request to a token endpoint: its form and the client's authentication are Authlib's.

    It is never given a token, and so never refreshes one by itself.
    """

    client_auth_class = _ClientAuth

    def __init__(self, http: HTTP, read: Callable[[Answer], Any], **options: Any) -> None:
        # The HTTP below has the one timeout that counts.
        super().__init__(transport=_Transport(http), trust_env=False, timeout=None, **options)
        self._read = read
        self.register_client_auth_method(("client_secret_basic", _basic))

    def parse_response_token(self, resp: httpx2.Response) -> Any:
        """Authlib's own takes a 200 without a token, and fails on error descriptions that aren't plain ASCII."""
        return self._read(Answer(resp.status_code, resp.content))

    async def post_form(self, url: str, form: dict[str, str]) -> Answer:
        """POST a form with the client's authentication, to an endpoint other than the token endpoint."""
        auth = self.client_auth(self.token_endpoint_auth_method)
        response = await self.post(url, data=form, auth=auth, headers={"Accept": "application/json"})
        return Answer(response.status_code, response.content)
