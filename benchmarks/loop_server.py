"""What ``serving`` measures: an application behind the middleware, which notes how late its event loop is."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any, Final

from benchmarks import tenants
from fusion_store import APITokenMetadata, get_repository
from fusion_store.http import BearerAuthMiddleware

DELAYS: Final = "/delays"
"""Answers the delays since the last time, in nanoseconds."""
CLIENTS: Final = 64
_EVERY_SECONDS: Final = 0.005


class Stub:
    """Knows the clients' tokens, and answers from a dictionary."""

    def __init__(self, known: dict[str, APITokenMetadata | None]) -> None:
        self._known = known

    def validate_api_token(self, token: str) -> APITokenMetadata | None:
        return self._known.get(token)


class InlineStub(Stub):
    """Does so without a thread, as a cache would."""

    def recall_api_token(self, token: str) -> APITokenMetadata | None:
        return self._known.get(token)


class App:
    """Answers at once."""

    def __init__(self) -> None:
        self._delays: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b"ok"
        if scope["path"] == DELAYS:
            body = json.dumps(self._delays).encode()
            self._delays.clear()
        length = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        probe = asyncio.create_task(self._probe())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        probe.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _probe(self) -> None:
        while True:
            began = time.perf_counter_ns()
            await asyncio.sleep(_EVERY_SECONDS)
            self._delays.append(time.perf_counter_ns() - began - round(_EVERY_SECONDS * 1e9))


def make() -> BearerAuthMiddleware:
    """The application on the vault that the environment names, or on a stub with the same answers."""
    is_cached = "BENCHMARK_CACHE" in os.environ
    vault: Any = get_repository(os.environ["BENCHMARK_VAULT"], cache=is_cached)
    if "BENCHMARK_STUB" in os.environ:
        with vault:
            tokens = [tenants.api_token(number) for number in range(CLIENTS)]
            make_stub = InlineStub if is_cached else Stub
            vault = make_stub({token: vault.validate_api_token(token) for token in tokens})
    return BearerAuthMiddleware(App(), vault, public_paths=[DELAYS])
