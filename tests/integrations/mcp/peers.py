"""A real MCP server and a real MCP client, over streamable HTTP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Literal

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp_types import TextContent
from pydantic import AnyHttpUrl

from fusion_store import AsyncTokenRepository, TokenRepository
from fusion_store.integrations.mcp import FusionGuard, FusionTokenVerifier
from tests.http.servers import serve

Mode = Literal["legacy", "auto"]
MODES: Final[tuple[Mode, ...]] = ("legacy", "auto")
"""With sessions, and (as of 2026-07-28) without."""

INITIALIZE: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


def make_server(verifier: TokenVerifier, scopes: tuple[str, ...] = ("read",)) -> MCPServer[Any]:
    """An MCP server with one tool: ``whoami``."""
    settings = AuthSettings(
        issuer_url=AnyHttpUrl("http://127.0.0.1:1"),
        resource_server_url=AnyHttpUrl("http://127.0.0.1:1/mcp"),
        validate_token_resource=False,
        required_scopes=list(scopes),
    )
    server: MCPServer[Any] = MCPServer("notes", token_verifier=verifier, auth=settings, log_level="ERROR")
    add_whoami(server)
    return server


def add_whoami(server: MCPServer[Any]) -> None:
    @server.tool()
    async def whoami() -> str:
        token = get_access_token()
        assert token is not None
        assert token.claims is not None
        return str(token.claims["tenant"])


@contextmanager
def serving(vault: TokenRepository | AsyncTokenRepository, scopes: tuple[str, ...] = ("read",)) -> Iterator[str]:
    """A server that validates against a vault; answers its URL."""
    app = FusionGuard(make_server(FusionTokenVerifier(vault), scopes).streamable_http_app())
    with serve(app) as address:
        yield f"http://{address}/mcp"


@asynccontextmanager
async def connected(
    url: str, auth: Any, mode: Mode, answers: list[httpx2.Response] | None = None
) -> AsyncIterator[Client]:
    """A client that is connected; ``answers`` collects what its requests were answered."""

    async def note(answer: httpx2.Response) -> None:
        if answers is not None:
            answers.append(answer)

    async with (
        httpx2.AsyncClient(auth=auth, event_hooks={"response": [note]}, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


def bearer(token: str) -> Any:
    """``auth=`` that sends a token as it is."""

    def add(request: httpx2.Request) -> httpx2.Request:
        request.headers["authorization"] = f"Bearer {token}"
        return request

    return add


async def whoami(client: Client) -> str:
    """Whose tenant the server takes a client for."""
    result = await client.call_tool("whoami", {})
    content = result.content[0]
    assert isinstance(content, TextContent)
    return content.text


def ask(url: str, token: str, mode: Mode) -> str:
    """Connect, and ask the server who calls."""

    async def run() -> str:
        async with connected(url, bearer(token), mode) as client:
            return await whoami(client)

    return asyncio.run(run())


def refused(url: str, token: str | None, mode: Mode) -> httpx2.Response:
    """The answer that keeps a client from connecting, or from calling the tool once it is connected."""
    answers: list[httpx2.Response] = []

    async def run() -> None:
        async with connected(url, None if token is None else bearer(token), mode, answers) as client:
            await whoami(client)

    with suppress(Exception):
        asyncio.run(run())
        raise SystemExit("the client was let in")
    return next(answer for answer in answers if answer.status_code >= 400)


def is_unavailable(answer: httpx2.Response) -> bool:
    """Whether a client is told to come again later, and nothing about its token."""
    return (
        answer.status_code == 503
        and int(answer.headers["retry-after"]) > 0
        and "www-authenticate" not in answer.headers
        and answer.json()["error"] == "temporarily_unavailable"
    )
