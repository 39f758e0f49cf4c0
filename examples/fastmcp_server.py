"""A FastMCP server for many tenants: each one's tool calls an upstream API with that tenant's own token.

``pip install 'fusion-store[fastmcp]'``. The vault is ``FUSION_STORE_URL``'s; ``FUSION_STORE_SERVICES`` names the
file that says how the service ``upstream`` is authenticated at, ``UPSTREAM_URL`` where it is.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import uvicorn
from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.dependencies import get_access_token

from fusion_store import NeedsReauth, TokenRepository, get_repository
from fusion_store.auth import AuthManager, load_services
from fusion_store.integrations.fastmcp import FusionTokenVerifier
from fusion_store.integrations.mcp import FusionAuth


def make_server(vault: TokenRepository) -> FastMCP:
    services = load_services(os.environ["FUSION_STORE_SERVICES"])
    held: dict[str, Any] = {}

    @asynccontextmanager
    async def lifespan(_: FastMCP) -> AsyncIterator[None]:
        async with (
            AuthManager(vault, services=services) as held["manager"],
            httpx2.AsyncClient(base_url=os.environ["UPSTREAM_URL"]) as held["upstream"],
        ):
            yield

    server = FastMCP("profiles", auth=FusionTokenVerifier(vault), lifespan=lifespan)

    @server.tool
    async def profile() -> str:
        """The name of the caller's account."""
        caller = get_access_token()
        assert caller is not None
        auth = FusionAuth(held["manager"].tenant_of(caller.claims["tenant"]), "upstream")
        try:
            answer = await held["upstream"].get("/profile", auth=auth)
        except NeedsReauth:
            raise ToolError("Connect your account first: fusion-store connect upstream") from None
        return str(answer.raise_for_status().json()["name"])

    return server


def main() -> None:
    with get_repository() as vault:
        app = make_server(vault).http_app(stateless_http=True)
        uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))


if __name__ == "__main__":
    main()
