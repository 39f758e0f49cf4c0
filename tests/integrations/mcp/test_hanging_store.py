"""A store that doesn't answer: the verifiers say so after a while, and the guard makes 503 of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fusion_store.integrations.fastmcp
import fusion_store.integrations.mcp
from fusion_store import (
    APITokenMetadata,
    AsyncTokenRepository,
    ConfigError,
    IssuedToken,
    TokenRepository,
    get_repository,
)
from fusion_store.http._asgi import Receive, Scope, Send
from fusion_store.integrations.mcp import FusionAuthorizationServer, FusionGuard
from tests.http.servers import call
from tests.integrations.mcp.test_provider import the_ticket

Verify = Callable[[str], Any]


def of_mcp(vault: Any, seconds: float | None) -> Verify:
    return fusion_store.integrations.mcp.FusionTokenVerifier(vault, store_timeout=seconds).verify_token


def of_fastmcp(vault: Any, seconds: float | None) -> Verify:
    return fusion_store.integrations.fastmcp.FusionTokenVerifier(vault, store_timeout=seconds).verify_token


def of_the_authorization_server(vault: Any, seconds: float | None) -> Verify:
    return FusionAuthorizationServer(vault, the_ticket, store_timeout=seconds).load_access_token


MAKERS = [of_mcp, of_fastmcp, of_the_authorization_server]


@pytest.fixture
def released(vault: TokenRepository, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until this is set, validations hang."""
    released = threading.Event()
    validate = vault.validate_api_token

    def hang(token: str) -> APITokenMetadata | None:
        assert released.wait(60)
        return validate(token)

    monkeypatch.setattr(vault, "validate_api_token", hang)
    yield released
    released.set()


def status(verify: Verify, token: str) -> int:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found = await verify(token)
        await send({"type": "http.response.start", "status": 401 if found is None else 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return asyncio.run(call(FusionGuard(app)))[0]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("kind", [lambda vault: vault, AsyncTokenRepository], ids=["sync", "async"])
def test_a_store_that_hangs_is_503_after_a_while(
    vault: TokenRepository, ada: IssuedToken, released: threading.Event, make: Any, kind: Any
) -> None:
    verify = make(kind(vault), 0.05)
    assert status(verify, ada.token) == 503
    released.set()
    # It may take as long as this machine needs.
    patient = make(kind(vault), None)
    assert status(patient, ada.token) == 200
    assert status(patient, "0" * 64) == 401


@pytest.mark.parametrize("make", MAKERS)
def test_a_token_that_is_known_needs_no_store(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with get_repository("memory://", cache=True) as vault:
        issued = vault.add_api_token()
        vault.validate_api_token(issued.token)
        monkeypatch.setattr(vault, "validate_api_token", lambda _: None)
        assert status(make(vault, 0.05), issued.token) == 200


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("seconds", [0, -1])
def test_a_timeout_that_is_none_is_refused(vault: TokenRepository, make: Any, seconds: float) -> None:
    with pytest.raises(ConfigError, match="store_timeout"):
        make(vault, seconds)
