from __future__ import annotations

from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from fusion_store import APITokenMetadata, ConfigError, IssuedToken, TokenRepository
from fusion_store.http import BearerAuthMiddleware, current_tenant
from fusion_store.integrations.fastapi import CurrentTenant, require_scopes
from tests.http.servers import serve, without_extensions


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/me")
    async def me(tenant: CurrentTenant) -> str:
        return tenant.tenant_hash

    @app.get("/thread")
    def in_a_thread(tenant: CurrentTenant) -> bool:
        return current_tenant() is tenant

    @app.get("/write")
    async def write(tenant: Annotated[APITokenMetadata, Depends(require_scopes("write", "more"))]) -> str:
        return tenant.tenant_hash

    @app.get("/read", dependencies=[Depends(require_scopes("read"))])
    async def read() -> str:
        return "read"

    @app.get("/open")
    async def anybody() -> str:
        return "open"

    @app.websocket("/socket")
    async def socket(socket: WebSocket, tenant: CurrentTenant) -> None:
        await socket.accept()
        await socket.send_text(tenant.tenant_hash)
        await socket.close()

    return app


def get(server: str, path: str, issued: IssuedToken | None = None) -> httpx2.Response:
    headers = {} if issued is None else {"authorization": f"Bearer {issued.token}"}
    return httpx2.get(f"http://{server}{path}", headers=headers)


def test_the_tenant_is_a_dependency(vault: TokenRepository, ada: IssuedToken) -> None:
    with serve(BearerAuthMiddleware(application(), vault)) as server:
        assert get(server, "/me", ada).json() == ada.hash
        assert get(server, "/thread", ada).json() is True
        assert get(server, "/me").status_code == 401


def test_as_one_of_fastapis_middlewares(vault: TokenRepository, ada: IssuedToken) -> None:
    app = application()
    app.add_middleware(BearerAuthMiddleware, vault)
    with serve(app) as server:
        assert get(server, "/me", ada).json() == ada.hash
        assert get(server, "/me").status_code == 401


def test_a_handler_that_needs_somebody_refuses_nobody(vault: TokenRepository) -> None:
    url = "https://api.example/.well-known/oauth-protected-resource"
    app = BearerAuthMiddleware(application(), vault, required=False, realm="api", resource_metadata=url)
    with serve(app) as server:
        assert get(server, "/open").json() == "open"
        for path in ("/me", "/read", "/write"):
            answer = get(server, path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == f'Bearer realm="api", resource_metadata="{url}"'


def test_a_missing_scope_is_named(vault: TokenRepository, ada: IssuedToken) -> None:
    writer = vault.add_api_token(scopes=("write", "more", "other"))
    half = vault.add_api_token(scopes=("write",))
    with serve(BearerAuthMiddleware(application(), vault)) as server:
        assert get(server, "/read", ada).json() == "read"
        assert get(server, "/write", writer).json() == writer.hash
        for issued in (ada, half):
            answer = get(server, "/write", issued)
            assert answer.status_code == 403
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
            assert 'scope="write more"' in answer.headers["www-authenticate"]


def test_a_websocket_without_a_tenant_is_refused(vault: TokenRepository, ada: IssuedToken) -> None:
    app = BearerAuthMiddleware(application(), vault, required=False)
    for wrapped, status in ((app, 401), (without_extensions(app), 403)):
        with serve(wrapped) as server:
            headers = {"Authorization": f"Bearer {ada.token}"}
            with connect(f"ws://{server}/socket", additional_headers=headers, proxy=None) as socket:
                assert socket.recv() == ada.hash
            with pytest.raises(InvalidStatus) as caught, connect(f"ws://{server}/socket", proxy=None):
                pass
            assert caught.value.response.status_code == status


def test_without_the_middleware_nobody_passes() -> None:
    with serve(application()) as server:
        assert get(server, "/me").status_code == 500
        assert get(server, "/read").status_code == 500


def test_openapi_shows_scheme_and_scopes() -> None:
    schema: dict[str, Any] = application().openapi()
    (name,) = schema["components"]["securitySchemes"]
    scheme = schema["components"]["securitySchemes"][name]
    assert (name, scheme["type"], scheme["scheme"]) == ("BearerAuth", "http", "bearer")
    security = {path: item["get"].get("security") for path, item in schema["paths"].items()}
    assert security == {
        "/me": [{"BearerAuth": []}],
        "/thread": [{"BearerAuth": []}],
        "/write": [{"BearerAuth": ["write", "more"]}],
        "/read": [{"BearerAuth": ["read"]}],
        "/open": None,
    }
    assert "parameters" not in schema["paths"]["/write"]["get"]


def test_a_scope_must_be_one() -> None:
    with pytest.raises(ConfigError, match="scopes"):
        require_scopes("two words")
