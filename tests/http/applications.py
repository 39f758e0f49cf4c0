"""Applications that say who called: one for each middleware, behind the server it is for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, Unpack

from flask import Flask, request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fusion_store import AsyncTokenRepository, TokenRepository
from fusion_store.http import BearerAuthMiddleware, BearerAuthWSGI, Options, current_tenant
from tests.http.servers import serve, serve_wsgi

Who = dict[str, str | None]


class Serving(Protocol):
    """Starts a server with the middleware around an application."""

    def __call__(
        self, vault: TokenRepository | AsyncTokenRepository, **options: Unpack[Options]
    ) -> AbstractContextManager[str]: ...


def who(tenant: Any) -> Who:
    current = current_tenant()
    return {"handed": tenant and tenant.tenant_hash, "current": current and current.tenant_hash}


def starlette_app() -> Starlette:
    async def answer(request: Request) -> JSONResponse:
        return JSONResponse(who(request.state.tenant))

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


def flask_app() -> Flask:
    app = Flask(__name__, static_folder=None)

    def answer(path: str = "") -> Who:
        return who(request.environ["fusion_store.tenant"])

    for rule in ("/", "/<path:path>"):
        app.add_url_rule(rule, view_func=answer, methods=["GET", "POST"])
    return app


def serve_asgi_app(
    vault: TokenRepository | AsyncTokenRepository, **options: Unpack[Options]
) -> AbstractContextManager[str]:
    return serve(BearerAuthMiddleware(starlette_app(), vault, **options))


def serve_wsgi_app(
    vault: TokenRepository | AsyncTokenRepository, **options: Unpack[Options]
) -> AbstractContextManager[str]:
    return serve_wsgi(BearerAuthWSGI(flask_app(), vault, **options))


SERVING: dict[str, Callable[..., AbstractContextManager[str]]] = {"asgi": serve_asgi_app, "wsgi": serve_wsgi_app}
