"""A real MCP client over streamable HTTP, and a real MCP server that validates against the vault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from fusion_store import AsyncTokenRepository, IssuedToken, TokenRepository
from tests.integrations.mcp.peers import (
    MODES,
    Mode,
    ask,
    bearer,
    connected,
    is_unavailable,
    refused,
    serving,
    whoami,
)

Kind = Callable[[TokenRepository], TokenRepository | AsyncTokenRepository]
KINDS: dict[str, Kind] = {"sync": lambda vault: vault, "async": AsyncTokenRepository}

pytestmark = pytest.mark.parametrize("mode", MODES)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_live_token_opens_its_tenant(vault: TokenRepository, ada: IssuedToken, kind: Kind, mode: Mode) -> None:
    bob = vault.add_api_token("Bob", scopes=("write", "read"))
    with serving(kind(vault)) as url:
        for issued in (ada, bob, ada):
            assert ask(url, issued.token, mode) == issued.hash


def test_unknown_and_expired_tokens_are_refused(vault: TokenRepository, mode: Mode) -> None:
    expired = vault.add_api_token(scopes=("read",), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with serving(vault) as url:
        for token in ("0" * 64, expired.token, None):
            answer = refused(url, token, mode)
            assert answer.status_code == 401
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_token_revoked_a_moment_ago_is_refused(vault: TokenRepository, ada: IssuedToken, mode: Mode) -> None:
    vault.add_api_token(tenant_hash=ada.hash)
    answers: list[httpx2.Response] = []

    async def run(url: str) -> None:
        async with connected(url, bearer(ada.token), mode, answers) as client:
            assert await whoami(client) == ada.hash
            vault.delete_api_token(ada.hash)
            answers.clear()
            with pytest.raises(Exception, match=r".+"):
                await whoami(client)
            assert [answer.status_code for answer in answers] == [401]

    with serving(vault) as url:
        asyncio.run(run(url))


def test_a_missing_scope_is_forbidden(vault: TokenRepository, ada: IssuedToken, mode: Mode) -> None:
    with serving(vault, ("read", "write")) as url:
        answer = refused(url, ada.token, mode)
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


def test_while_the_store_is_down_the_answer_is_503(
    vault: TokenRepository, ada: IssuedToken, mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(vault) as url:
        assert ask(url, ada.token, mode) == ada.hash
        vault.close()
        for token in (ada.token, "0" * 64):
            assert is_unavailable(refused(url, token, mode))
    assert "StoreClosed" in caplog.text
    assert "Traceback" not in caplog.text
    assert ada.token not in caplog.text
