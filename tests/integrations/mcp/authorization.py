"""A host with an authorization server, its consent page, and the MCP server behind it; on loopback."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from fusion_store import AsyncTokenRepository, IssuedToken, TokenRepository
from fusion_store.integrations.mcp import ConsentRequest, FusionAuthorizationServer, FusionGuard
from tests.http.servers import serve
from tests.integrations.mcp.peers import INITIALIZE, add_whoami

REDIRECT: Final = "http://127.0.0.1:1/callback"
VERIFIER: Final = "v" * 43
CHALLENGE: Final = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
SCOPES: Final = ["read", "write"]

Answer = dict[str, Any]


class Host:
    """``users`` are whom the consent page knows, by the cookie ``user``; for no others it consents."""

    def __init__(self, vault: TokenRepository | AsyncTokenRepository, url: str, **options: Any) -> None:
        self.url = url
        self.issuer = AnyHttpUrl(url)
        self.resource = AnyHttpUrl(f"{url}/mcp")
        named = {"issuer": self.issuer, "resource": self.resource}
        self.server = FusionAuthorizationServer(vault, self._ask, **(named | options))
        self.users: dict[str, IssuedToken] = {}
        self.asked: list[ConsentRequest] = []
        self.http = httpx2.Client(base_url=url, timeout=30)
        settings = AuthSettings(
            issuer_url=self.issuer,
            resource_server_url=self.resource,
            validate_token_resource=True,
            required_scopes=["read"],
            client_registration_options=ClientRegistrationOptions(
                enabled=True, valid_scopes=SCOPES, default_scopes=SCOPES
            ),
            revocation_options=RevocationOptions(enabled=True),
        )
        mcp: MCPServer[Any] = MCPServer("notes", auth_server_provider=self.server, auth=settings, log_level="ERROR")
        add_whoami(mcp)
        mcp.custom_route("/consent", ["GET"])(self._page)
        self.app = FusionGuard(mcp.streamable_http_app())

    async def _ask(self, request: ConsentRequest) -> str:
        return f"{self.url}/consent?ticket={quote(request.ticket)}"

    async def _page(self, request: Request) -> Response:
        ticket = request.query_params["ticket"]
        pending = await self.server.pending(ticket)
        user = self.users.get(request.cookies.get("user", ""))
        if pending is None:
            return PlainTextResponse("too late", 400)
        self.asked.append(pending)
        answer = await (self.server.deny(ticket) if user is None else self.server.approve(ticket, user.hash))
        return RedirectResponse(answer, 303)

    # A client, request by request

    def register(self, **metadata: Any) -> Answer:
        answer = self.http.post("/register", json={"redirect_uris": [REDIRECT], "client_name": "Notes app"} | metadata)
        return dict(answer.json()) if answer.status_code == 201 else {"status": answer.status_code} | answer.json()

    def browse(self, client: Answer, user: str = "ada", **query: str) -> dict[str, str]:
        """A user's browser at the authorization endpoint: with what it comes back to the client."""
        asked = {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": REDIRECT,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "s",
            "resource": f"{self.url}/mcp",
        }
        return self.follow(f"{self.url}/authorize?{httpx2.QueryParams(asked | query)}", user)

    def follow(self, url: str, user: str) -> dict[str, str]:
        with httpx2.Client(cookies={"user": user}, timeout=30) as browser:
            while not url.startswith(REDIRECT):
                answer = browser.get(url)
                assert answer.is_redirect, answer.text
                url = answer.headers["location"]
        return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}

    def token(self, client: Answer, grant_type: str, **form: str) -> httpx2.Response:
        secret = {"client_id": client["client_id"], "client_secret": client["client_secret"]}
        return self.http.post("/token", data={"grant_type": grant_type} | secret | form)

    def exchange(self, client: Answer, code: str, **form: str) -> httpx2.Response:
        details = {"code": code, "code_verifier": VERIFIER, "redirect_uri": REDIRECT}
        return self.token(client, "authorization_code", **(details | form))

    def refresh(self, client: Answer, refresh_token: str, **form: str) -> httpx2.Response:
        return self.token(client, "refresh_token", refresh_token=refresh_token, **form)

    def revoke(self, client: Answer, token: str) -> httpx2.Response:
        secret = {"client_id": client["client_id"], "client_secret": client["client_secret"]}
        return self.http.post("/revoke", data=secret | {"token": token})

    def sign_in(self, client: Answer, user: str = "ada", **query: str) -> Answer:
        """The tokens of a new grant."""
        return dict(self.exchange(client, self.browse(client, user, **query)["code"]).json())

    def status(self, access_token: str) -> int:
        """What the MCP server answers a bearer of this token."""
        headers = {"authorization": f"Bearer {access_token}", "accept": "application/json, text/event-stream"}
        return self.http.post("/mcp", headers=headers, json=INITIALIZE).status_code


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def hosting(vault: TokenRepository | AsyncTokenRepository, **options: Any) -> Iterator[Host]:
    port = free_port()
    host = Host(vault, f"http://127.0.0.1:{port}", **options)
    with serve(host.app, port=port), host.http:
        yield host
