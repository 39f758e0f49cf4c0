"""Inside and around other frameworks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import fastapi
import flask
import httpx2
import litestar
import pytest
from fastapi import FastAPI
from flask import Flask
from litestar.middleware import DefineMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from fusion_store import IssuedToken, TokenRepository
from fusion_store.http import BearerAuthMiddleware, BearerAuthWSGI, current_tenant
from fusion_store.http._asgi import ASGIApp, Receive, Scope, Send
from tests.http.applications import Who, starlette_app, who
from tests.http.servers import call, serve, serve_wsgi

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


def hash_for(server: str, issued: IssuedToken, path: str = "/") -> Any:
    answer = httpx2.get(f"http://{server}{path}", headers={"authorization": f"Bearer {issued.token}"})
    assert answer.status_code == 200, answer.text
    return answer.json()["handed"]


def refused(server: str, path: str = "/") -> bool:
    return httpx2.get(f"http://{server}{path}").status_code == 401


def test_as_one_of_starlettes_middlewares(vault: TokenRepository, ada: IssuedToken) -> None:
    async def answer(request: Request) -> JSONResponse:
        return JSONResponse(who(request.state.tenant))

    app = Starlette(routes=[Route("/", answer)], middleware=[Middleware(BearerAuthMiddleware, vault)])
    with serve(app) as server:
        assert hash_for(server, ada) == ada.hash
        assert refused(server)


@litestar.get(["/", "/health", "/static/{path:path}", "/admin"])
async def litestar_handler(request: litestar.Request[Any, Any, Any]) -> Who:
    return who(request.state.tenant)


@pytest.mark.parametrize("inside", [True, False])
def test_in_and_around_litestar(vault: TokenRepository, ada: IssuedToken, inside: bool) -> None:
    app: ASGIApp
    if inside:
        middleware = DefineMiddleware(BearerAuthMiddleware, repository=vault, public_paths=["/health"])
        app = litestar.Litestar([litestar_handler], middleware=[middleware])
    else:
        app = BearerAuthMiddleware(litestar.Litestar([litestar_handler]), vault, public_paths=["/health"])
    with serve(app) as server:
        assert hash_for(server, ada) == ada.hash
        assert refused(server)
        assert httpx2.get(f"http://{server}/health").json() == {"handed": None, "current": None}


def test_public_paths_are_those_of_the_application_whatever_is_before_them(
    vault: TokenRepository, ada: IssuedToken
) -> None:
    guarded = BearerAuthMiddleware(starlette_app(), vault, public_paths=["/health"], public_prefixes=["/static/"])
    with serve(Starlette(routes=[Mount("/api", guarded)])) as server:
        assert httpx2.get(f"http://{server}/api/health").status_code == 200
        assert httpx2.get(f"http://{server}/api/static/x").status_code == 200
        assert refused(server, "/api/")
        assert hash_for(server, ada, "/api/") == ada.hash
    with serve(guarded, root_path="/api") as server:
        assert httpx2.get(f"http://{server}/health").status_code == 200
        assert refused(server, "/other")


def test_a_path_without_the_servers_prefix_is_not_public(vault: TokenRepository) -> None:
    async def answer() -> list[int]:
        guarded = BearerAuthMiddleware(starlette_app(), vault, public_prefixes=["/static/"])
        paths = ["/static/api/admin", "/apistatic/x", "/api/static/x"]
        return [(await call(guarded, path=path, root_path="/api"))[0] for path in paths]

    assert asyncio.run(answer()) == [401, 401, 200]


def test_a_fastapi_with_a_root_path_knows_its_public_paths_behind_a_proxy_that_strips_it(
    vault: TokenRepository, ada: IssuedToken
) -> None:
    app = FastAPI()

    @app.get("/{path:path}")
    def answer(request: fastapi.Request) -> Who:
        return who(request.state.tenant)

    app.add_middleware(BearerAuthMiddleware, vault, public_paths=["/health"])
    app.root_path = "/api/v1"
    with serve(app) as server:
        for path in ("/health", "/api/v1/health"):
            assert httpx2.get(f"http://{server}{path}").status_code == 200
        for path in ("/health/api/v1", "/api/v1", "/api/v1health", "/x/api/v1/health"):
            assert refused(server, path)
        assert hash_for(server, ada, "/api/v1/other") == ada.hash


@litestar.asgi(["/files", "/deep/files"], is_mount=True, copy_scope=True)
async def litestar_mount(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("a secret")(scope, receive, send)


@pytest.mark.parametrize("root", ["", "/api"])
@pytest.mark.parametrize("inside", [True, False])
def test_below_a_mount_of_litestars_the_rest_of_the_path_makes_nothing_public(
    vault: TokenRepository, inside: bool, root: str
) -> None:
    options: Any = {"public_paths": ["/health", "/files"], "public_prefixes": ["/static/"]}
    middleware = [DefineMiddleware(BearerAuthMiddleware, repository=vault, **options)] if inside else []
    app: ASGIApp = litestar.Litestar([litestar_handler, litestar_mount], middleware=middleware)
    if not inside:
        app = BearerAuthMiddleware(app, vault, **options)
    with serve(app, root_path=root) as server:
        for mount in ("/files", "/deep/files"):
            for rest in ("/static/keys.pem", "/health", "/static/", "/files", "/"):
                assert refused(server, mount + rest)
        for path in ("/health", "/static/x"):
            assert httpx2.get(f"http://{server}{path}").json() == {"handed": None, "current": None}
        assert refused(server, "/admin")


def test_a_rewritten_path_is_public_only_if_it_was_and_is(vault: TokenRepository) -> None:
    guarded = BearerAuthMiddleware(starlette_app(), vault, public_paths=["/café"], public_prefixes=["/static/"])

    async def status(path: str, raw_path: bytes | None) -> int:
        return (await call(guarded, path=path, raw_path=raw_path))[0]

    async def answers() -> None:
        assert await status("/static/x", b"/admin") == 401
        assert await status("/admin", b"/static/x") == 401
        assert await status("/static/x", b"/static/%2e%2e/admin") == 401
        assert await status("/static/x", b"/static/y") == 200
        assert await status("/café", b"/caf%C3%A9") == 200
        assert await status("/static/x", None) == 200

    asyncio.run(answers())


def test_flask_streams_in_its_callers_name(vault: TokenRepository, ada: IssuedToken) -> None:
    app = Flask(__name__)

    @app.get("/")
    def stream() -> flask.Response:
        def pieces() -> Iterator[str]:
            for _ in range(3):
                tenant = current_tenant()
                yield f"{tenant and tenant.tenant_hash}\n"

        return flask.Response(pieces())

    with serve_wsgi(BearerAuthWSGI(app, vault)) as server:
        answer = httpx2.get(f"http://{server}/", headers={"authorization": f"Bearer {ada.token}"})
        assert answer.text == f"{ada.hash}\n" * 3
    assert current_tenant() is None


def test_a_wsgi_answer_is_closed(vault: TokenRepository, ada: IssuedToken) -> None:
    closed: list[Any] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(current_tenant())

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("content-length", "4")])
        return Body([b"do", b"ne"])

    with serve_wsgi(BearerAuthWSGI(app, vault)) as server:
        answer = httpx2.get(f"http://{server}/", headers={"authorization": f"Bearer {ada.token}"})
        assert answer.text == "done"
    assert [tenant.hash for tenant in closed] == [ada.hash]


def test_around_django(vault: TokenRepository, ada: IssuedToken) -> None:
    import django
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpRequest, JsonResponse
    from django.urls import path

    def answer(request: HttpRequest) -> JsonResponse:
        return JsonResponse(who(request.META["fusion_store.tenant"]))

    settings.configure(ROOT_URLCONF=(path("", answer),), ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="x", USE_TZ=True)
    django.setup()
    with serve_wsgi(BearerAuthWSGI(WSGIHandler(), vault)) as server:
        assert hash_for(server, ada) == ada.hash
        assert refused(server)


def test_a_failing_handler_leaves_no_tenant_behind(vault: TokenRepository, ada: IssuedToken) -> None:
    async def broken(*_: Any) -> None:
        raise LookupError

    async def answer() -> None:
        with pytest.raises(LookupError):
            await call(BearerAuthMiddleware(broken, vault), [(b"authorization", f"Bearer {ada.token}".encode())])
        assert current_tenant() is None

    asyncio.run(answer())
