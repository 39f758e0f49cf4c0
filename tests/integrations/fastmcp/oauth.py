"""An OAuth provider upstream, FastMCP's proxy before it, and a client with a browser that consents to everything."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2
from fastmcp.client.auth import OAuth
from fastmcp.server.auth import OAuthProxy
from fastmcp.server.auth.providers.introspection import IntrospectionTokenVerifier
from key_value.aio.protocols import AsyncKeyValue
from mcp.shared.auth import AuthorizationCodeResult

from tests.auth.provider import Provider, Reply, Request

CLIENT_ID = "the-proxy"
CLIENT_SECRET = "upstream-secret-of-the-proxy"
SUBJECT = "ada@upstream"


class Upstream:
    """Answers ``/authorize``, ``/token`` and ``/introspect`` of a provider; ``issued`` are its access tokens."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.issued: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        provider.script("/authorize", [self._authorize])
        provider.script("/token", [self._token])
        provider.script("/introspect", [self._introspect])

    @property
    def logins(self) -> int:
        """How often somebody signed in."""
        return len(self.provider.asked("/authorize"))

    def _authorize(self, request: Request) -> Reply:
        code = secrets.token_urlsafe(16)
        self._codes[code] = request.query
        location = f"{request.query['redirect_uri']}?{urlencode({'code': code, 'state': request.query['state']})}"
        return Reply(302, headers={"Location": location})

    def _token(self, request: Request) -> Reply | dict[str, Any]:
        if request.form["grant_type"] == "refresh_token":
            return self.provider.strict_token(request)
        asked = self._codes.pop(request.form["code"])
        digest = sha256(request.form["code_verifier"].encode()).digest()
        assert asked["code_challenge"] == urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert asked["client_id"] == CLIENT_ID
        granted = self.provider.grant()
        self.issued += [granted["access_token"], granted["refresh_token"]]
        return granted

    def _introspect(self, request: Request) -> dict[str, Any]:
        is_live = self.provider.is_live(request.form["token"])
        return {"active": is_live, "client_id": CLIENT_ID, "sub": SUBJECT, "scope": "read"}


def make_proxy(upstream: Upstream, port: int, storage: AsyncKeyValue) -> OAuthProxy:
    provider = upstream.provider
    verifier = IntrospectionTokenVerifier(
        introspection_url=provider.url("/introspect"),
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        required_scopes=["read"],
    )
    return OAuthProxy(
        upstream_authorization_endpoint=provider.url("/authorize"),
        upstream_token_endpoint=provider.url("/token"),
        upstream_client_id=CLIENT_ID,
        upstream_client_secret=CLIENT_SECRET,
        token_verifier=verifier,
        base_url=f"http://127.0.0.1:{port}",
        client_storage=storage,
        jwt_signing_key="the same after a restart",
    )


class ConsentingOAuth(OAuth):
    """FastMCP's ``OAuth`` with a browser of its own."""

    _answer: dict[str, list[str]]

    async def redirect_handler(self, authorization_url: str) -> None:
        callback = f"http://localhost:{self.redirect_port}/callback"
        async with httpx2.AsyncClient() as browser:
            answer = await browser.get(authorization_url)
            while True:
                if answer.is_redirect:
                    target = urljoin(str(answer.url), answer.headers["location"])
                    if target.startswith(callback):
                        self._answer = parse_qs(urlsplit(target).query)
                        return
                    answer = await browser.get(target)
                else:
                    form = _Form(answer.raise_for_status().text)
                    answer = await browser.post(answer.url, data=form.fields | {"action": "approve"})

    async def callback_handler(self) -> AuthorizationCodeResult:
        fields = {name: values[0] for name, values in self._answer.items()}
        return AuthorizationCodeResult(code=fields["code"], state=fields["state"], iss=fields.get("iss"))


class _Form(HTMLParser):
    """The hidden fields of a page's form."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.feed(page)
        assert self.fields, page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "input" and found.get("type") == "hidden":
            self.fields[found["name"] or ""] = found["value"] or ""
