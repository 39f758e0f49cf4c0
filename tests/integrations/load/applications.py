"""What each worker process serves; the environment names the vault and the kind of application."""

from __future__ import annotations

import os
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fusion_store import TokenRepository, get_repository
from fusion_store.http import BearerAuthMiddleware
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


def plain_app(vault: TokenRepository) -> ASGIApp:
    async def answer(request: Request) -> JSONResponse:
        return JSONResponse(request.state.tenant.tenant_id)

    return BearerAuthMiddleware(Starlette(routes=[Route("/", answer)]), vault)


def mcp_app(vault: TokenRepository) -> ASGIApp:
    from fusion_store.integrations.mcp import FusionGuard, FusionTokenVerifier
    from tests.integrations.mcp.peers import make_server

    server = make_server(FusionTokenVerifier(vault), scopes=())
    app = server.streamable_http_app(streamable_http_path="/", stateless_http=True, json_response=True)
    return FusionGuard(app)


APPLICATIONS = {"plain": plain_app, "mcp": mcp_app}


def make() -> ASGIApp:
    """The application of one worker, with a vault of its own open on the shared place."""
    vault = get_repository(os.environ["LOAD_VAULT"], create=False, cache="LOAD_CACHE" in os.environ)
    return with_worker(APPLICATIONS[os.environ["LOAD_APPLICATION"]](vault))
