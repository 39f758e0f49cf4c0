from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from fusion_store import IssuedToken, TokenRepository
from fusion_store.http import BearerAuthMiddleware, current_tenant
from tests.http.servers import serve, without_extensions


def echo() -> Starlette:
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        tenant, current = socket.state.tenant, current_tenant()
        assert tenant is current
        await socket.send_text(tenant.tenant_hash if tenant else "nobody")
        await socket.close()

    return Starlette(routes=[WebSocketRoute("/", talk), WebSocketRoute("/public", talk)])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refusal(server: str, headers: dict[str, str]) -> tuple[int, str | None]:
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://{server}/", additional_headers=headers, proxy=None):
        pass
    response = caught.value.response
    return response.status_code, response.headers.get("www-authenticate")


def test_a_live_token_opens_a_websocket(vault: TokenRepository, ada: IssuedToken) -> None:
    with serve(BearerAuthMiddleware(echo(), vault, public_paths=["/public"])) as server:
        with connect(f"ws://{server}/", additional_headers=bearer(ada.token), proxy=None) as socket:
            assert socket.recv() == ada.hash
        with connect(f"ws://{server}/public", proxy=None) as socket:
            assert socket.recv() == "nobody"


def test_a_refused_websocket_is_answered_as_a_request(vault: TokenRepository, ada: IssuedToken) -> None:
    with serve(BearerAuthMiddleware(echo(), vault, scopes=["write"])) as server:
        assert refusal(server, {}) == (401, 'Bearer realm="fusion-store"')
        for headers, status, error in (
            (bearer("x y"), 400, "invalid_request"),
            (bearer("unknown"), 401, "invalid_token"),
            (bearer(ada.token), 403, "insufficient_scope"),
        ):
            answered, challenge = refusal(server, headers)
            assert answered == status
            assert f'error="{error}"' in (challenge or "")
        vault.close()
        assert refusal(server, bearer(ada.token)) == (503, None)


def test_where_the_server_cannot_answer_the_websocket_is_closed(vault: TokenRepository, ada: IssuedToken) -> None:
    with serve(without_extensions(BearerAuthMiddleware(echo(), vault))) as server:
        assert refusal(server, {}) == (403, None)
        assert refusal(server, bearer("unknown")) == (403, None)
        with connect(f"ws://{server}/", additional_headers=bearer(ada.token), proxy=None) as socket:
            assert socket.recv() == ada.hash


def test_a_refusal_comes_after_the_connect_that_it_answers(vault: TokenRepository) -> None:
    async def messages(extensions: dict[str, Any]) -> list[str]:
        order: list[str] = []

        async def receive() -> dict[str, Any]:
            order.append("websocket.connect")
            return {"type": "websocket.connect"}

        async def send(message: dict[str, Any]) -> None:
            order.append(message["type"])

        scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": [], "extensions": extensions}
        await BearerAuthMiddleware(echo(), vault)(scope, receive, send)
        return order

    assert asyncio.run(messages({})) == ["websocket.connect", "websocket.close"]
    assert asyncio.run(messages({"websocket.http.response": {}})) == [
        "websocket.connect",
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
