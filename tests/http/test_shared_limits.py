"""Rate limits counted in a Redis that several servers share."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from fusion_store import IssuedToken, TokenRepository, get_repository
from fusion_store.http import BearerAuthMiddleware, RateLimit
from tests.http.applications import SERVING, Serving, starlette_app
from tests.http.servers import serve

STORE_TIMEOUT = 2


class Redis:
    """A server of this test's own, without a file."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.url = f"redis://127.0.0.1:{self.port}"
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.end()


def status(server: str, token: str) -> int:
    return httpx2.get(f"http://{server}/", headers={"authorization": f"Bearer {token}"}, timeout=60).status_code


def test_servers_share_the_count(vault: TokenRepository, ada: IssuedToken, redis: Redis) -> None:
    bob = vault.add_api_token("Bob")
    limit = RateLimit(per_tenant="3/hour", storage=redis.url)
    with SERVING["asgi"](vault, rate_limit=limit) as first, SERVING["wsgi"](vault, rate_limit=limit) as second:
        assert [status(server, ada.token) for server in (first, second, first)] == [200] * 3
        assert [status(server, ada.token) for server in (first, second)] == [429] * 2
        assert status(second, bob.token) == 200


@pytest.mark.parametrize("cache", [False, True], ids=["uncached", "cached"])
def test_a_redis_that_hangs_is_503_and_others_are_served(redis: Redis, *, cache: bool) -> None:
    with get_repository("memory://", cache=cache) as vault:
        ada = vault.add_api_token("Ada")
        limit = RateLimit(per_tenant="100/minute", per_address="100/minute", storage=redis.url)
        app = BearerAuthMiddleware(
            starlette_app(), vault, rate_limit=limit, public_paths=["/health"], store_timeout=STORE_TIMEOUT
        )
        with serve(app) as server:
            assert status(server, ada.token) == 200
            redis.process.send_signal(signal.SIGSTOP)
            try:
                assert status(server, ada.token) == 503
                assert httpx2.get(f"http://{server}/health").status_code == 200
            finally:
                redis.process.send_signal(signal.SIGCONT)
            assert status(server, ada.token) == 200


def test_a_redis_that_is_gone_is_503(
    vault: TokenRepository, ada: IssuedToken, redis: Redis, serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(vault, rate_limit=RateLimit(per_tenant="100/minute", storage=redis.url)) as server:
        assert status(server, ada.token) == 200
        redis.end()
        assert status(server, ada.token) == 503
    assert "the rate limits' storage: ConnectionError" in caplog.text
