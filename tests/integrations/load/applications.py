"""What each worker process serves; the environment names the vault and the kind of application."""

from __future__ import annotations

import os
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fusion_store import get_repository
from fusion_store.http import BearerAuthMiddleware, current_tenant
from fusion_store.http._asgi import ASGIApp, Receive, Scope, Send

WORKER_HEADER = "x-worker"


def with_worker(app: ASGIApp) -> ASGIApp:
    """Says in each answer, a refusal too, which process it comes from."""
    worker = (WORKER_HEADER.encode(), str(os.getpid()).encode())

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def named(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], worker]}
            await send(message)

        await app(scope, receive, named)

    return wrapped


def plain_app() -> ASGIApp:
    async def answer(request: Request) -> JSONResponse:
        return JSONResponse(request.state.tenant.tenant_id)

    return Starlette(routes=[Route("/", answer)])


def mcp_app() -> ASGIApp:
    from fastmcp import FastMCP

    server = FastMCP("load")

    @server.tool
    def who() -> str:
        caller = current_tenant()
        assert caller is not None
        return caller.tenant_id

    return server.http_app(path="/", stateless_http=True, json_response=True)


APPLICATIONS = {"plain": plain_app, "mcp": mcp_app}


def make() -> ASGIApp:
    """The application of one worker, with a vault of its own open on the shared place."""
    vault = get_repository(os.environ["LOAD_VAULT"], create=False)
    app = APPLICATIONS[os.environ["LOAD_APPLICATION"]]()
    return with_worker(BearerAuthMiddleware(app, vault))
