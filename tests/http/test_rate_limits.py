from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import pytest

from fusion_store import ConfigError, IssuedToken, TokenRepository, get_repository
from fusion_store.http import BearerAuthMiddleware, RateLimit
from fusion_store.http._addresses import TrustedProxies
from fusion_store.http._limits import Limiter
from tests.http.applications import Serving, starlette_app
from tests.http.servers import call


def statuses(server: str, token: str | None, times: int, path: str = "/") -> list[int]:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return [httpx2.get(f"http://{server}{path}", headers=headers).status_code for _ in range(times)]


def test_a_tenant_over_its_limit_waits_and_the_others_do_not(
    serving: Serving, vault: TokenRepository, ada: IssuedToken
) -> None:
    bob = vault.add_api_token("Bob")
    second = vault.add_api_token("Ada's phone", tenant_hash=ada.hash)
    with serving(vault, rate_limit=RateLimit(per_tenant="3/hour")) as server:
        assert statuses(server, ada.token, 2) == [200] * 2
        assert statuses(server, second.token, 2) == [200, 429]
        answer = httpx2.get(f"http://{server}/", headers={"authorization": f"Bearer {ada.token}"})
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 3600
        assert "www-authenticate" not in answer.headers
        assert statuses(server, bob.token, 3) == [200] * 3
        assert statuses(server, "unknown", 5) == [401] * 5


def test_a_tenant_whose_token_is_known_has_the_same_limit(serving: Serving) -> None:
    with get_repository("memory://", cache=True) as vault:
        ada = vault.add_api_token("Ada")
        with serving(vault, rate_limit=RateLimit(per_tenant="3/hour")) as server:
            assert statuses(server, ada.token, 5) == [200] * 3 + [429] * 2


def test_an_address_over_its_limit_waits_whatever_it_presents(
    serving: Serving, vault: TokenRepository, ada: IssuedToken
) -> None:
    with serving(vault, rate_limit=RateLimit(per_address="4/hour"), public_paths=["/health"]) as server:
        assert statuses(server, "unknown", 2) == [401] * 2
        assert statuses(server, None, 1) == [401]
        assert statuses(server, "x y", 1) == [400]
        assert statuses(server, ada.token, 1) == [429]
        assert statuses(server, None, 2, "/health") == [200] * 2


@pytest.mark.parametrize("rate", ["100/minute; 2/hour", "2/hour, 100/minute", "100 per minute|2 per hour"])
def test_each_part_of_a_limit_holds(rate: str) -> None:
    limiter = Limiter(RateLimit(per_tenant=rate, per_address=rate))
    assert [limiter.tenant("a") for _ in range(2)] == [0, 0]
    assert 60 < limiter.tenant("a") <= 3600
    assert limiter.tenant("b") == 0
    assert [limiter.address("192.0.2.1", []) for _ in range(2)] == [0, 0]
    assert 60 < limiter.address("192.0.2.1", []) <= 3600


def test_a_limit_ends_with_its_window(vault: TokenRepository, ada: IssuedToken) -> None:
    middleware = BearerAuthMiddleware(starlette_app(), vault, rate_limit=RateLimit(per_tenant="1/second"))
    headers = [(b"authorization", f"Bearer {ada.token}".encode())]

    async def status() -> int:
        return (await call(middleware, headers))[0]

    assert asyncio.run(status()) == 200
    deadline = time.monotonic() + 10
    while asyncio.run(status()) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_workers_with_a_common_storage_share_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from limits.storage import MemoryStorage

    common = MemoryStorage()
    asked: list[str] = []

    def common_storage(url: str, **_: Any) -> MemoryStorage:
        asked.append(url)
        return common

    monkeypatch.setattr("limits.storage.storage_from_string", common_storage)
    limit = RateLimit(per_tenant="2/hour", storage="redis://shared")
    first, second = Limiter(limit), Limiter(limit)
    assert asked == ["redis://shared"] * 2
    assert [first.tenant("a"), second.tenant("a")] == [0, 0]
    assert min(first.tenant("a"), second.tenant("a")) > 0
    assert first.tenant("b") == 0


def test_while_the_counts_are_away_nobody_passes(
    vault: TokenRepository, ada: IssuedToken, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from limits.errors import StorageError
    from limits.storage import MemoryStorage

    def fail(*_: Any, **__: Any) -> bool:
        raise StorageError(ConnectionError("redis://:secret@host refused"))

    monkeypatch.setattr(MemoryStorage, "acquire_sliding_window_entry", fail)
    middleware = BearerAuthMiddleware(starlette_app(), vault, rate_limit=RateLimit(per_tenant="1/second"))
    headers = [(b"authorization", f"Bearer {ada.token}".encode())]
    status, answered = asyncio.run(call(middleware, headers))
    assert status == 503
    assert "retry-after" in answered
    assert "ConnectionError" in caplog.text
    assert "secret" not in caplog.text


PROXIES = ("10.0.0.0/8", "2001:db8:1::/48")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["203.0.113.9", "198.51.100.1 , 10.2.2.2"], "198.51.100.1"),
        ("10.1.1.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.1.1", ["[2001:db8::1]:4711"], "2001:db8::/64"),
        ("10.1.1.1", ["198.51.100.1, nonsense"], "10.1.1.1"),
        ("10.1.1.1", ["10.3.3.3"], "10.3.3.3"),
        ("10.1.1.1", [","], "10.1.1.1"),
        ("::ffff:10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:1::5", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:2:3:4:5:6:7", [], "2001:db8:2:3::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        (None, ["198.51.100.1"], "unix"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str | None, forwarded: list[str], client: str) -> None:
    values = [value.encode() for value in forwarded]
    assert TrustedProxies(PROXIES).client(peer, values) == client
    if peer is not None:
        assert TrustedProxies(()).client(peer, values) == TrustedProxies(()).client(peer, [])


def test_a_proxy_on_a_socket_file_can_be_trusted() -> None:
    assert TrustedProxies(["unix"]).client(None, [b"203.0.113.9, 198.51.100.1"]) == "198.51.100.1"
    assert TrustedProxies(["unix"]).client("192.0.2.1", [b"198.51.100.1"]) == "192.0.2.1"


def test_clients_behind_a_trusted_proxy_count_apart(serving: Serving, vault: TokenRepository) -> None:
    limit = RateLimit(per_address="1/hour", trusted_proxies=["127.0.0.1"])
    with serving(vault, rate_limit=limit) as server:

        def ask(forwarded: str) -> int:
            return httpx2.get(f"http://{server}/", headers={"x-forwarded-for": forwarded}).status_code

        assert ask("198.51.100.1") == 401
        assert ask("198.51.100.2") == 401
        assert ask("203.0.113.9, 198.51.100.1") == 429


def test_an_untrusted_client_cannot_choose_its_address(vault: TokenRepository) -> None:
    middleware = BearerAuthMiddleware(starlette_app(), vault, rate_limit=RateLimit(per_address="1/hour"))

    async def ask(forwarded: bytes) -> int:
        return (await call(middleware, [(b"x-forwarded-for", forwarded)], client=("192.0.2.1", 5)))[0]

    assert asyncio.run(ask(b"198.51.100.1")) == 401
    assert asyncio.run(ask(b"198.51.100.2")) == 429


@pytest.mark.parametrize(
    "options",
    [
        {"per_tenant": "many"},
        {"per_address": "10/fortnight"},
        {"per_tenant": "10/minute; many"},
        {"per_tenant": "0/minute"},
        {"per_address": "10/minute; 0/hour"},
        {"storage": "nosuch://user:secret@host"},
        {"storage": "async+memory://"},
        {"trusted_proxies": ["proxy.example"]},
        {"trusted_proxies": ["10.0.0.1/8"]},
        {"trusted_proxies": "10.0.0.1"},
    ],
    ids=str,
)
def test_a_limit_that_cannot_be_used_is_refused_at_once(vault: TokenRepository, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))) as caught:
        BearerAuthMiddleware(starlette_app(), vault, rate_limit=RateLimit(**options))
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(RateLimit(**options))
