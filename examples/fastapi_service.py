"""A FastAPI service whose callers are tenants, each calling an upstream API with a token of its own.

``pip install 'fusion-store[fastapi,auth]' uvicorn``. The vault is ``FUSION_STORE_URL``'s; ``FUSION_STORE_SERVICES``
names the file that says how the service ``upstream`` is authenticated at, ``UPSTREAM_URL`` where it is.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import uvicorn
from fastapi import Depends, FastAPI, HTTPException

from fusion_store import NeedsReauth, TokenRepository, get_repository
from fusion_store.auth import AuthManager, load_services
from fusion_store.http import BearerAuthMiddleware
from fusion_store.integrations.fastapi import CurrentTenant, require_scopes
from fusion_store.integrations.httpx2 import FusionAuth


def make_app(vault: TokenRepository) -> FastAPI:
    services = load_services(os.environ["FUSION_STORE_SERVICES"])

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            AuthManager(vault, services=services) as app.state.manager,
            httpx2.AsyncClient(base_url=os.environ["UPSTREAM_URL"]) as app.state.upstream,
        ):
            yield

    app = FastAPI(title="Profiles", lifespan=lifespan)
    app.add_middleware(BearerAuthMiddleware, vault, public_paths=["/health", "/docs", "/openapi.json"])

    @app.get("/health")
    def health() -> dict[str, bool]:
        return {"ok": vault.health().ok}

    @app.get("/me")
    def me(tenant: CurrentTenant) -> dict[str, str]:
        return {"tenant": tenant.tenant_id, "description": tenant.description}

    @app.get("/profile", dependencies=[Depends(require_scopes("profile"))])
    async def profile(tenant: CurrentTenant) -> str:
        auth = FusionAuth(app.state.manager.tenant_of(tenant.tenant_hash), "upstream")
        try:
            answer = await app.state.upstream.get("/profile", auth=auth)
        except NeedsReauth:
            raise HTTPException(409, "Connect your account first: fusion-store connect upstream") from None
        return str(answer.raise_for_status().json()["name"])

    return app


def main() -> None:
    with get_repository() as vault:
        uvicorn.run(make_app(vault), port=int(os.environ.get("PORT", "8000")))


if __name__ == "__main__":
    main()
