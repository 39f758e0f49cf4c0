"""A real FastMCP server, and what calls it, over streamable HTTP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from fastmcp import Client, FastMCP
from fastmcp.server.auth import AuthProvider
from fastmcp.server.dependencies import get_access_token

from fusion_store.integrations.fastmcp import FusionGuard
from tests.http.servers import serve
from tests.integrations.mcp.peers import INITIALIZE


def make_server(auth: AuthProvider) -> FastMCP[Any]:
    """A FastMCP server with one tool: ``whoami``."""
    server: FastMCP[Any] = FastMCP("notes", auth=auth)

    @server.tool
    async def whoami() -> dict[str, Any]:
        token = get_access_token()
        assert token is not None
        return {"subject": token.subject, "scopes": token.scopes, "claims": token.claims}

    return server


@contextmanager
def serving(auth: AuthProvider, *, guarded: bool = False, **config: Any) -> Iterator[str]:
    """A server; answers its URL."""
    app = make_server(auth).http_app()
    with serve(FusionGuard(app) if guarded else app, **config) as address:
        yield f"http://{address}/mcp"


async def whoami(client: Client[Any]) -> dict[str, Any]:
    """Whom the server takes a client for."""
    answer: dict[str, Any] = (await client.call_tool("whoami")).data
    return answer


def ask(url: str, auth: Any) -> dict[str, Any]:
    """Connect, and ask the server who calls."""

    async def run() -> dict[str, Any]:
        async with Client(url, auth=auth) as client:
            return await whoami(client)

    return asyncio.run(run())


def knock(url: str, token: str | None) -> httpx2.Response:
    """What a client's first request is answered."""
    headers = {"accept": "application/json, text/event-stream"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return httpx2.post(url, headers=headers, json=INITIALIZE)
