"""Requests that share a connection share no caller."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from fusion_store import IssuedToken, TokenRepository
from fusion_store.http import BearerAuthMiddleware, current_tenant
from fusion_store.http._asgi import ASGIApp
from tests.http.servers import serve


async def whose(request: Request) -> PlainTextResponse:
    await request.body()
    tenant = current_tenant()
    return PlainTextResponse(tenant.tenant_hash if tenant else "nobody")


def with_an_unguarded_route(vault: TokenRepository) -> ASGIApp:
    """``/`` knows nothing of tokens; whatever is below ``/api/`` needs one."""
    route = Route("/", whose, methods=["GET", "POST"])
    guarded = BearerAuthMiddleware(Starlette(routes=[route]), vault)
    return Starlette(routes=[Mount("/api", guarded), route])


def test_a_kept_connection_does_not_keep_its_tenant(vault: TokenRepository, ada: IssuedToken) -> None:
    bearer = {"Authorization": f"Bearer {ada.token}"}
    with (
        serve(with_an_unguarded_route(vault)) as server,
        closing(http.client.HTTPConnection(server)) as connection,
    ):

        def ask(path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
            connection.request("GET" if body is None else "POST", path, body=body, headers=headers or {})
            return connection.getresponse().read().decode()

        assert ask("/") == "nobody"
        assert ask("/api/", b"x" * 1_000_000, bearer) == ada.hash
        assert [ask("/"), ask("/")] == ["nobody"] * 2
        assert ask("/api/") == ""
        assert ask("/api/", headers=bearer) == ada.hash


def test_a_pipelined_request_does_not_inherit_the_tenant_before_it(vault: TokenRepository, ada: IssuedToken) -> None:
    requests = (
        f"GET /api/ HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ada.token}\r\n\r\n"
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    with serve(with_an_unguarded_route(vault)) as server:
        host, port = server.split(":")
        with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answers:
            connection.sendall(requests.encode())
            received = answers.read().decode()
    assert ada.hash in received
    assert received.endswith("\r\n\r\nnobody")
