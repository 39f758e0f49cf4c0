"""What the verifier says of a token, and what the guard makes of a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from fastmcp import FastMCP
from fastmcp.server.auth import AccessToken as FastAccessToken
from fastmcp.server.auth import MultiAuth, StaticTokenVerifier
from fastmcp.server.auth import TokenVerifier as FastTokenVerifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.server.auth.provider import principal_components

from fusion_store import AsyncTokenRepository, ConfigError, IssuedToken, StoreClosed, TokenRepository
from fusion_store.http._asgi import Receive, Scope, Send
from fusion_store.integrations.mcp import FusionGuard, FusionTokenVerifier
from tests.http.servers import call, serve
from tests.integrations.mcp.peers import is_unavailable, make_server, refused

KINDS: dict[str, Callable[[TokenRepository], Any]] = {"sync": lambda vault: vault, "async": AsyncTokenRepository}


def test_a_token_is_described_by_its_public_ids(vault: TokenRepository, ada: IssuedToken) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    second = vault.add_api_token(tenant_hash=ada.hash, scopes=("write", "read"), expires_at=expires_at)

    token = asyncio.run(FusionTokenVerifier(vault).verify_token(second.token))

    assert token is not None
    assert token.token == second.token
    assert token.client_id == second.metadata.token_id
    assert token.subject == ada.metadata.tenant_id
    assert token.scopes == ["write", "read"]
    assert token.expires_at == int(expires_at.timestamp())
    assert token.claims == {"tenant": ada.hash}
    assert principal_components(token) == (second.metadata.token_id, None, ada.metadata.tenant_id)


def test_what_is_no_repository_is_refused_where_it_is_handed_in() -> None:
    with pytest.raises(ConfigError, match="get_repository"):
        FusionTokenVerifier("memory://")  # type: ignore[arg-type]


def test_a_token_without_expiry_has_none(vault: TokenRepository, ada: IssuedToken) -> None:
    token = asyncio.run(FusionTokenVerifier(vault).verify_token(ada.token))
    assert token is not None
    assert token.expires_at is None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_whatever_is_no_live_token_is_nobody(vault: TokenRepository, text: str) -> None:
    assert asyncio.run(FusionTokenVerifier(vault).verify_token(text)) is None


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_verifying_does_not_block_the_loop(vault: TokenRepository, ada: IssuedToken, kind: Any) -> None:
    verifier = FusionTokenVerifier(kind(vault))

    async def verify() -> list[bool]:
        return [await verifier.verify_token(token) is not None for token in (ada.token, "0" * 64)]

    with blockbuster_ctx():
        assert asyncio.run(verify()) == [True, False]


def test_a_store_that_is_down_raises(vault: TokenRepository, ada: IssuedToken) -> None:
    vault.close()
    with pytest.raises(StoreClosed):
        asyncio.run(FusionTokenVerifier(vault).verify_token(ada.token))


def test_without_the_guard_nobody_is_let_in_either(vault: TokenRepository, ada: IssuedToken) -> None:
    server = make_server(FusionTokenVerifier(vault))
    vault.close()
    with serve(server.streamable_http_app()) as address:
        assert refused(f"http://{address}/mcp", ada.token, "legacy").status_code == 500


class Fast(FastTokenVerifier):
    """FastMCP's kind of verifier, which asks the vault's."""

    def __init__(self, vault: TokenRepository) -> None:
        super().__init__(required_scopes=["read"])
        self.verifier = FusionTokenVerifier(vault)

    async def verify_token(self, token: str) -> FastAccessToken | None:
        found = await self.verifier.verify_token(token)
        return None if found is None else FastAccessToken(**found.model_dump())


def test_where_a_failure_is_swallowed_the_guard_still_answers_503(vault: TokenRepository, ada: IssuedToken) -> None:
    other = StaticTokenVerifier({"static": {"client_id": "other", "scopes": ["read"]}}, required_scopes=["read"])
    auth = MultiAuth(verifiers={"vault": Fast(vault), "static": other}, required_scopes=["read"])
    app = FastMCP("notes", auth=auth).http_app()
    vault.close()
    with serve(FusionGuard(app)) as address:
        url = f"http://{address}/mcp"
        assert is_unavailable(refused(url, ada.token, "legacy"))
        assert refused(url, None, "legacy").status_code == 401


def test_a_token_that_another_verifier_knows_passes_while_the_store_is_down(vault: TokenRepository) -> None:
    vault.close()
    verifier = FusionTokenVerifier(vault)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(StoreClosed):
            await verifier.verify_token("static")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"known"})

    assert asyncio.run(call(FusionGuard(app)))[0] == 200


def test_what_is_not_the_stores_failure_is_none_of_the_guards_business(vault: TokenRepository) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    async def strange(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Bearer")]})
        await send({"type": "http.response.body", "body": b""})

    with pytest.raises(ZeroDivisionError):
        asyncio.run(call(FusionGuard(broken)))
    assert asyncio.run(call(FusionGuard(strange))) == (401, {"www-authenticate": "Bearer"})


def test_a_failure_after_the_answer_began_is_raised(vault: TokenRepository) -> None:
    vault.close()
    verifier = FusionTokenVerifier(vault)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await verifier.verify_token("late")

    with pytest.raises(StoreClosed):
        asyncio.run(call(FusionGuard(app)))
