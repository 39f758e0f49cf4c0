"""The event loop never waits for the vault."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from blockbuster import blockbuster_ctx

from fusion_store import APITokenMetadata, AsyncTokenRepository, TokenRepository, get_repository
from fusion_store.http import BearerAuthMiddleware, RateLimit, SingleTenant
from tests.http.applications import starlette_app
from tests.http.servers import call, serve


@pytest.mark.parametrize("cache", [False, True], ids=["uncached", "cached"])
@pytest.mark.parametrize("kind", [lambda vault: vault, AsyncTokenRepository], ids=["sync", "async"])
def test_nothing_blocks_on_the_loop(tmp_path: Path, kind: Any, *, cache: bool) -> None:
    url = f"sqlite:///{tmp_path}/vault.db"
    with get_repository(url, cache=cache) as vault:
        issued = vault.add_api_token()
        limit = RateLimit(per_tenant="1000/minute", per_address="1000/minute")
        middleware = BearerAuthMiddleware(starlette_app(), kind(vault), rate_limit=limit)

        async def requests() -> list[int]:
            authorizations = [f"Bearer {issued.token}", "Bearer unknown", "Bearer", "Basic x"] * 5
            sent = [[(b"authorization", text.encode())] for text in authorizations]
            return [(await call(middleware, headers))[0] for headers in sent]

        with blockbuster_ctx():
            assert asyncio.run(requests()) == [200, 401, 400, 401] * 5


def test_blockbuster_would_notice(tmp_path: Path) -> None:
    with get_repository(f"sqlite:///{tmp_path}/vault.db") as vault:

        async def block() -> None:
            vault.validate_api_token("0" * 64)

        with blockbuster_ctx(), pytest.raises(Exception, match="Blocking call"):
            asyncio.run(block())


def test_checking_the_key_at_start_up_does_not_block_either(tmp_path: Path) -> None:
    with get_repository(f"sqlite:///{tmp_path}/vault.db") as vault:
        issued = vault.add_api_token()
        app = starlette_app()

        async def start() -> list[str]:
            middleware = BearerAuthMiddleware(app, vault, single_tenant=SingleTenant(key=issued.token))
            sent: list[str] = []
            messages = iter(["startup", "shutdown"])

            async def receive() -> dict[str, str]:
                return {"type": f"lifespan.{next(messages)}"}

            async def send(message: Any) -> None:
                sent.append(message["type"])

            await middleware({"type": "lifespan", "state": {}}, receive, send)
            return sent

        with blockbuster_ctx():
            assert asyncio.run(start()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_others_are_served_while_the_store_is_slow(vault: TokenRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = threading.Event(), threading.Event()

    def slow(token: str) -> APITokenMetadata | None:
        asked.set()
        assert answered.wait(30)
        return None

    monkeypatch.setattr(vault, "validate_api_token", slow)
    with serve(BearerAuthMiddleware(starlette_app(), vault, public_paths=["/health"])) as server:
        waiting: list[int] = []
        headers = {"authorization": "Bearer x"}
        caller = threading.Thread(
            target=lambda: waiting.append(httpx2.get(f"http://{server}/", headers=headers, timeout=60).status_code)
        )
        caller.start()
        try:
            assert asked.wait(30)
            assert httpx2.get(f"http://{server}/health", timeout=10).status_code == 200
            assert httpx2.get(f"http://{server}/", timeout=10).status_code == 401
            assert waiting == []
        finally:
            answered.set()
            caller.join()
        assert waiting == [401]
