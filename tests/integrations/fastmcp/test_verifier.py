"""A real FastMCP client, and a real FastMCP server that validates against the vault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from blockbuster import blockbuster_ctx
from fastmcp import Client
from fastmcp.server.auth import AuthProvider, MultiAuth, RemoteAuthProvider, TokenVerifier
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from pydantic import AnyHttpUrl

from fusion_store import AsyncTokenRepository, IssuedToken, TokenRepository
from fusion_store.integrations.fastmcp import FusionTokenVerifier
from tests.integrations.fastmcp.peers import ask, knock, serving, whoami
from tests.integrations.mcp.peers import is_unavailable

Wrap = Callable[[TokenVerifier], AuthProvider]
BASE = "http://127.0.0.1:1"


def another() -> TokenVerifier:
    return StaticTokenVerifier({"known-elsewhere": {"client_id": "elsewhere", "scopes": ["read"]}})


WRAPS: dict[str, Wrap] = {
    "alone": lambda verifier: verifier,
    "first": lambda verifier: MultiAuth(verifiers=[verifier, another()], required_scopes=["read"]),
    "second": lambda verifier: MultiAuth(verifiers=[another(), verifier], required_scopes=["read"]),
    "remote": lambda verifier: RemoteAuthProvider(verifier, [AnyHttpUrl(BASE)], BASE),
}


@pytest.fixture(params=WRAPS)
def wrap(request: pytest.FixtureRequest) -> Wrap:
    """The verifier alone, among several, or behind metadata, each test running with all."""
    return WRAPS[request.param]


@pytest.fixture
def url(vault: TokenRepository, wrap: Wrap) -> Iterator[str]:
    """Of a server; it is guarded from outside where it has to be."""
    auth = wrap(FusionTokenVerifier(vault, required_scopes=["read"]))
    with serving(auth, guarded=not isinstance(auth, FusionTokenVerifier)) as url:
        yield url


def test_it_is_a_verifier_of_fastmcp(vault: TokenRepository) -> None:
    assert isinstance(FusionTokenVerifier(vault), TokenVerifier)


@pytest.mark.parametrize("kind", [lambda vault: vault, AsyncTokenRepository], ids=["sync", "async"])
def test_a_live_token_opens_its_tenant(
    vault: TokenRepository, ada: IssuedToken, wrap: Wrap, kind: Callable[[TokenRepository], TokenRepository]
) -> None:
    bob = vault.add_api_token("Bob", scopes=("write", "read"))
    with serving(wrap(FusionTokenVerifier(kind(vault), required_scopes=["read"]))) as url:
        for issued in (ada, bob, ada):
            seen = ask(url, issued.token)
            assert seen["claims"] == {"tenant": issued.metadata.tenant_hash}
            assert seen["subject"] == issued.metadata.tenant_id
            assert seen["scopes"] == list(issued.metadata.scopes)


def test_tokens_that_are_not_live_are_refused(vault: TokenRepository, ada: IssuedToken, url: str) -> None:
    expired = vault.add_api_token(scopes=("read",), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for token in ("0" * 64, expired.token, "!", "x" * 9000):
        answer = knock(url, token)
        assert answer.status_code == 401
    assert knock(url, None).status_code == 401
    assert "error" not in knock(url, None).headers["www-authenticate"]
    assert 'error="invalid_token"' in knock(url, expired.token).headers["www-authenticate"]


def test_a_token_revoked_a_moment_ago_is_refused(vault: TokenRepository, ada: IssuedToken, url: str) -> None:
    vault.add_api_token(tenant_hash=ada.hash)

    async def run() -> None:
        async with Client(url, auth=ada.token) as client:
            assert (await whoami(client))["subject"] == ada.metadata.tenant_id
            vault.delete_api_token(ada.hash)
            with pytest.raises(Exception, match=r".+"):
                await whoami(client)

    asyncio.run(run())
    assert knock(url, ada.token).status_code == 401


def test_a_missing_scope_is_forbidden(vault: TokenRepository, url: str) -> None:
    poor = vault.add_api_token(scopes=("write",))
    answer = knock(url, poor.token)
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


def test_while_the_store_is_down_the_answer_is_503(
    vault: TokenRepository, ada: IssuedToken, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert knock(url, ada.token).status_code == 200
    vault.close()
    for token in (ada.token, "0" * 64):
        assert is_unavailable(knock(url, token))
    assert knock(url, None).status_code == 401
    assert ada.token not in caplog.text


def test_other_verifiers_go_on_while_the_store_is_down(vault: TokenRepository) -> None:
    both = MultiAuth(verifiers=[FusionTokenVerifier(vault), another()])
    with serving(both, guarded=True) as url:
        vault.close()
        assert knock(url, "known-elsewhere").status_code == 200
        assert is_unavailable(knock(url, "unknown"))


def test_no_other_token_can_use_a_session(vault: TokenRepository, ada: IssuedToken, url: str) -> None:
    bob = vault.add_api_token("Bob", scopes=("read",))
    session = knock(url, ada.token).headers["mcp-session-id"]
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
    for issued, status in ((bob, 404), (ada, 200)):
        headers = {
            "authorization": f"Bearer {issued.token}",
            "accept": "application/json, text/event-stream",
            "mcp-session-id": session,
            "mcp-protocol-version": "2025-06-18",
        }
        assert httpx2.post(url, headers=headers, json=call).status_code == status


def test_nothing_blocks_on_the_loop(vault: TokenRepository, ada: IssuedToken) -> None:
    for repository in (vault, AsyncTokenRepository(vault)):
        verifier = FusionTokenVerifier(repository)
        with blockbuster_ctx():
            assert asyncio.run(verifier.verify_token(ada.token)) is not None
            assert asyncio.run(verifier.verify_token("0" * 64)) is None
