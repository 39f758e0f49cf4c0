"""Single-tenant mode: requests without credentials act as the tenant of one token."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from fusion_store import (
    APITokenMetadata,
    AsyncTokenRepository,
    ConfigError,
    IssuedToken,
    TokenRepository,
)
from fusion_store.http import BearerAuthMiddleware, BearerAuthWSGI, SingleTenant
from tests.http.applications import Serving, flask_app, starlette_app
from tests.http.servers import Failed, call, serve

UNKNOWN = "0" * 64


def test_requests_without_credentials_act_as_the_keys_tenant(
    serving: Serving, vault: TokenRepository, ada: IssuedToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_AUTH_KEY", ada.token)
    bob = vault.add_api_token("Bob")
    with serving(vault, single_tenant=SingleTenant()) as server:

        def ask(**headers: str) -> httpx2.Response:
            return httpx2.get(f"http://{server}/", headers=headers)

        assert ask().json() == {"handed": ada.hash, "current": ada.hash}
        assert ask(authorization=f"Bearer {bob.token}").json()["handed"] == bob.hash
        assert ask(authorization=f"Bearer {UNKNOWN}").status_code == 401
        assert ask(authorization="Bearer").status_code == 400
        assert ask(authorization="Basic dXNlcjpwYXNz").status_code == 401
        assert ask(host="localhost:8000", origin="http://localhost:3000").status_code == 200
        vault.delete_api_token(ada.hash)
        answer = ask()
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="fusion-store"'
        vault.close()
        assert ask().status_code == 503


LOCAL = {"client": ("127.0.0.1", 5000), "headers": [(b"host", b"localhost:8000")]}
REMOTE: list[dict[str, Any]] = [
    {"client": ("192.0.2.7", 5000)},
    {"client": ("2001:db8::1", 5000)},
    {"client": None},
    {"headers": [(b"host", b"rebound.example")]},
    {"headers": [(b"host", b"localhost.example:8000")]},
    {"headers": [(b"host", b"[bad")]},
    {"headers": [(b"host", b"localhost"), (b"origin", b"https://elsewhere.example")]},
    {"headers": [(b"host", b"localhost"), (b"origin", b"null")]},
    {"headers": [(b"host", b"localhost"), (b"x-forwarded-for", b"127.0.0.1")]},
    *(
        {"headers": [(b"host", b"localhost"), header]}
        for header in (
            (b"forwarded", b"for=127.0.0.1"),
            (b"via", b"1.1 proxy"),
            (b"x-real-ip", b"127.0.0.1"),
            (b"x-forwarded-host", b"localhost"),
            (b"x-forwarded-proto", b"http"),
            (b"sec-fetch-site", b"cross-site"),
            (b"sec-fetch-site", b"same-site"),
            (b"sec-fetch-site", b"none,cross-site"),
            (b"sec-fetch-site", b""),
        )
    ),
    {"headers": [(b"host", b"localhost"), (b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")]},
    {"headers": [(b"host", b"localhost"), (b"host", b"rebound.example")]},
    {"headers": [(b"origin", b"http://localhost"), (b"origin", b"https://elsewhere.example")]},
]


@pytest.mark.parametrize("remote", REMOTE, ids=str)
def test_beyond_loopback_it_takes_an_explicit_word(
    vault: TokenRepository, ada: IssuedToken, remote: dict[str, Any]
) -> None:
    async def status(single_tenant: SingleTenant, request: dict[str, Any], **options: Any) -> int:
        middleware = BearerAuthMiddleware(
            starlette_app(), AsyncTokenRepository(vault), single_tenant=single_tenant, **options
        )
        return (await call(middleware, **request))[0]

    local_only, everybody = SingleTenant(key=ada.token), SingleTenant(key=ada.token, allow_remote=True)
    assert asyncio.run(status(local_only, LOCAL)) == 200
    assert asyncio.run(status(local_only, LOCAL | {"client": ("::1", 5000)})) == 200
    for site in (b"none", b"same-origin"):
        by_hand = {"headers": [(b"host", b"localhost:8000"), (b"sec-fetch-site", site)]}
        assert asyncio.run(status(local_only, LOCAL | by_hand)) == 200
    assert asyncio.run(status(local_only, LOCAL | remote)) == 401
    assert asyncio.run(status(everybody, LOCAL | remote)) == 200


@pytest.mark.parametrize("key", [None, "", UNKNOWN, "no token at all"])
def test_it_does_not_start_without_a_live_key(
    vault: TokenRepository, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    monkeypatch.delenv("API_AUTH_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("API_AUTH_KEY", key)
    with pytest.raises(ConfigError, match="API_AUTH_KEY"):
        BearerAuthMiddleware(starlette_app(), vault, single_tenant=SingleTenant())
    with pytest.raises(ConfigError, match="API_AUTH_KEY"):
        BearerAuthWSGI(flask_app(), vault, single_tenant=SingleTenant())


def test_a_server_does_not_start_on_a_dead_key(
    vault: TokenRepository, ada: IssuedToken, caplog: pytest.LogCaptureFixture
) -> None:
    single = SingleTenant(key=ada.token)
    outside = BearerAuthMiddleware(starlette_app(), vault, single_tenant=single)
    # Starlette makes its middlewares when the server starts up.
    inside = Starlette(middleware=[Middleware(BearerAuthMiddleware, vault, single_tenant=single)])
    with serve(outside), serve(inside):
        pass
    vault.delete_api_token(ada.hash)
    for app in (outside, Starlette(middleware=[Middleware(BearerAuthMiddleware, vault, single_tenant=single)])):
        caplog.clear()
        with caplog.at_level(logging.ERROR, "uvicorn"), pytest.raises(Failed), serve(app):
            pass
        assert "is no live API token" in caplog.text
        assert ada.token not in caplog.text


def test_a_server_does_not_start_while_the_store_is_away(vault: TokenRepository, ada: IssuedToken) -> None:
    app = BearerAuthMiddleware(starlette_app(), vault, single_tenant=SingleTenant(key=ada.token))
    vault.close()
    with pytest.raises(Failed), serve(app):
        pass


def test_whatever_goes_wrong_at_start_up_the_server_does_not_start(
    vault: TokenRepository, ada: IssuedToken, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(token: str) -> APITokenMetadata | None:
        raise OSError("disk")

    app = BearerAuthMiddleware(starlette_app(), vault, single_tenant=SingleTenant(key=ada.token))
    monkeypatch.setattr(vault, "validate_api_token", fail)
    with caplog.at_level(logging.ERROR), pytest.raises(Failed), serve(app):
        pass
    assert "OSError" in caplog.text


def test_where_nothing_starts_up_requests_wait_for_a_key_that_is_live(
    vault: TokenRepository, ada: IssuedToken, caplog: pytest.LogCaptureFixture
) -> None:
    async def answers() -> list[int]:
        middleware = BearerAuthMiddleware(starlette_app(), vault, single_tenant=SingleTenant(key=UNKNOWN))
        presented = [(b"authorization", f"Bearer {ada.token}".encode())]
        return [(await call(middleware, headers))[0] for headers in ([], presented, [])]

    assert asyncio.run(answers()) == [503, 200, 503]
    assert "is no live API token" in caplog.text
    assert UNKNOWN not in caplog.text


def test_a_key_that_was_live_is_as_good_as_none_when_it_is_revoked(vault: TokenRepository, ada: IssuedToken) -> None:
    async def answers() -> list[int]:
        middleware = BearerAuthMiddleware(starlette_app(), vault, single_tenant=SingleTenant(key=ada.token))
        live, _ = await call(middleware)
        vault.delete_api_token(ada.hash)
        return [live, (await call(middleware))[0]]

    assert asyncio.run(answers()) == [200, 401]


def test_the_key_is_not_shown(ada: IssuedToken) -> None:
    assert ada.token not in repr(SingleTenant(key=ada.token))
