"""An MCP client whose user consents once: later runs call the server with the stored token, refreshed when it is due.

It asks again when the grant has ended at the server.

``pip install 'fusion-store[mcp]'``, then ``python mcp_client.py https://notes.example/mcp TOOL``. The vault is
``FUSION_STORE_URL``'s; the client's tenant in it is the one whose API token is in ``API_AUTH_KEY``.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from pydantic import AnyUrl

from fusion_store import AsyncTokenRepository, NeedsReauth, get_repository
from fusion_store.auth import AuthManager, Tenant
from fusion_store.integrations.mcp import FusionAuth, FusionTokenStorage


class Callback:
    """The address on this machine to which the user's browser comes back."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Answers the address."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            try:
                request = await reader.readuntil(b"\r\n\r\n")
                _, target, _ = request.split(b"\r\n")[0].decode().split(" ")
            except (EOFError, ValueError, asyncio.LimitOverrunError, ConnectionError):
                return  # browsers also open connections that they don't use
            body = b"You can close this window.\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
            await writer.drain()
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if not self._answer.done() and "state" in query:
            self._answer.set_result(query)

    async def wait(self) -> AuthorizationCodeResult:
        query = await asyncio.wait_for(self._answer, 300)
        if "code" not in query:
            raise SystemExit(f"the server answered {query.get('error', 'nothing')}")
        return AuthorizationCodeResult(code=query["code"], state=query["state"], iss=query.get("iss"))


async def consent(storage: FusionTokenStorage, server_url: str) -> None:
    """Ask the user, and keep the outcome in the vault."""

    async def show(url: str) -> None:
        print("Open", url, flush=True)

    await storage.forget()  # a registration is for the port of its time
    callback = Callback()
    async with callback.listening() as address:
        metadata = OAuthClientMetadata(
            redirect_uris=[AnyUrl(address)], token_endpoint_auth_method="none", client_name="example"
        )
        auth = OAuthClientProvider(
            server_url, metadata, storage, show, callback.wait, validate_resource_url=storage.check_resource
        )
        async with (
            httpx2.AsyncClient(auth=auth) as http,
            Client(streamable_http_client(server_url, http_client=http)),
        ):
            pass


async def call(tenant: Tenant, storage: FusionTokenStorage, server_url: str, tool: str) -> None:
    """Call a tool with the stored token."""
    auth = FusionAuth(tenant, storage.service, await storage.service_config())
    async with (
        httpx2.AsyncClient(auth=auth) as http,
        Client(streamable_http_client(server_url, http_client=http)) as client,
    ):
        result = await client.call_tool(tool, {})
        print(*(getattr(part, "text", part) for part in result.content))


async def main(server_url: str, tool: str) -> None:
    async with AsyncTokenRepository(get_repository()) as vault, AuthManager(vault) as manager:
        tenant = await manager.tenant(os.environ["API_AUTH_KEY"])
        storage = FusionTokenStorage(vault, tenant.tenant_hash, server_url)
        if await storage.get_tokens() is None:
            await consent(storage, server_url)
        try:
            await call(tenant, storage, server_url, tool)
        except* NeedsReauth:
            await consent(storage, server_url)
            await call(tenant, storage, server_url, tool)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
