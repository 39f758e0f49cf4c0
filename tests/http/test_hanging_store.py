"""A store that doesn't answer holds up nobody for ever, and what it was asked doesn't pile up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from fusion_store import (
    APITokenMetadata,
    AsyncTokenRepository,
    ConfigError,
    IssuedToken,
    TokenRepository,
    get_repository,
)
from fusion_store.http import BearerAuthMiddleware, BearerAuthWSGI
from tests.http.applications import Serving, starlette_app
from tests.http.servers import call

THREADS = 16


class Hanging:
    """Holds up validations until it is released; ``calls`` counts those that came through to it."""

    def __init__(self) -> None:
        self.calls = 0
        self.released = threading.Event()

    def validate(self, token: str) -> APITokenMetadata | None:
        self.calls += 1
        assert self.released.wait(60)
        return None


@pytest.fixture
def hanging(vault: TokenRepository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    hanging = Hanging()
    monkeypatch.setattr(vault, "validate_api_token", hanging.validate)
    yield hanging
    hanging.released.set()


def get(server: str, token: str) -> httpx2.Response:
    return httpx2.get(f"http://{server}/", headers={"authorization": f"Bearer {token}"}, timeout=60)


def test_a_store_that_hangs_is_503_after_a_while(vault: TokenRepository, hanging: Hanging, serving: Serving) -> None:
    with serving(vault, store_timeout=0.05) as server:
        refused = get(server, "token")

        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        hanging.released.set()
        assert get(server, "token").status_code == 401


def test_what_a_hanging_store_was_asked_does_not_pile_up(
    vault: TokenRepository, hanging: Hanging, serving: Serving
) -> None:
    with serving(vault, store_timeout=0.5) as server, ThreadPoolExecutor(3 * THREADS) as clients:
        answers = list(clients.map(lambda number: get(server, f"token{number}"), range(3 * THREADS)))

        assert {answer.status_code for answer in answers} == {503}
        assert hanging.calls == THREADS
        hanging.released.set()
        assert get(server, "token").status_code == 401
        assert hanging.calls == THREADS + 1


def test_when_too_many_wait_the_next_is_refused_at_once(
    vault: TokenRepository, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion_store.http._threads.MOST_WAITING", 20)
    app = BearerAuthMiddleware(starlette_app(), vault, store_timeout=None)

    async def requests() -> list[int]:
        asked = [asyncio.create_task(call(app, [(b"authorization", b"Bearer token")])) for _ in range(30)]
        refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result()[0] for task in refused] == [503] * 10
        hanging.released.set()
        return [status for status, _ in await asyncio.gather(*asked)]

    assert sorted(asyncio.run(requests())) == [401] * 20 + [503] * 10


def test_who_gives_up_leaves_nothing_behind(vault: TokenRepository, hanging: Hanging) -> None:
    app = BearerAuthMiddleware(starlette_app(), vault)

    async def request() -> None:
        asked = asyncio.create_task(call(app, [(b"authorization", b"Bearer token")]))
        while not hanging.calls:
            await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(request())
    hanging.released.set()
    assert asyncio.run(call(app, [(b"authorization", b"Bearer token")]))[0] == 401


@pytest.mark.parametrize("seconds", [0, -1, "5", True, float("inf"), float("nan")])
@pytest.mark.parametrize("make", [BearerAuthMiddleware, BearerAuthWSGI])
def test_a_timeout_that_is_none_is_refused(vault: TokenRepository, seconds: float, make: Any) -> None:
    with pytest.raises(ConfigError, match="store_timeout"):
        make(None, vault, store_timeout=seconds)


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("fusion-store")}


def test_a_token_that_is_known_takes_no_thread() -> None:
    with get_repository("memory://", cache=True) as vault:
        issued = vault.add_api_token()
        vault.validate_api_token(issued.token)
        before = threads()
        app = BearerAuthMiddleware(starlette_app(), vault)

        async def requests(token: str) -> int:
            status, _ = await call(app, [(b"authorization", f"Bearer {token}".encode())])
            return status

        assert asyncio.run(requests(issued.token)) == 200
        assert threads() <= before
        assert asyncio.run(requests("unknown")) == 401
        assert threads() - before


def test_a_known_token_is_let_in_while_the_store_hangs(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    with get_repository("memory://", cache=True) as vault:
        issued: IssuedToken = vault.add_api_token()
        vault.validate_api_token(issued.token)
        hanging = Hanging()
        monkeypatch.setattr(vault, "validate_api_token", hanging.validate)
        with serving(AsyncTokenRepository(vault), store_timeout=0.05) as server:
            assert [get(server, f"token{number}").status_code for number in range(3)] == [503] * 3
            assert get(server, issued.token).status_code == 200
        hanging.released.set()
