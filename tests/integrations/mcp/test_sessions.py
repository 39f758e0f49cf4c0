"""A session belongs to who opened it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from fusion_store import IssuedToken, TokenRepository
from tests.integrations.mcp.peers import INITIALIZE, serving

CALL = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}


def post(url: str, token: str, body: dict[str, Any], session: str | None = None) -> httpx2.Response:
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    if session is not None:
        headers |= {"mcp-session-id": session, "mcp-protocol-version": "2025-06-18"}
    return httpx2.post(url, headers=headers, json=body)


def test_no_other_token_can_use_a_session(vault: TokenRepository, ada: IssuedToken) -> None:
    bob = vault.add_api_token("Bob", scopes=("read",))
    adas_second = vault.add_api_token(scopes=("read",), tenant_hash=ada.hash)
    with serving(vault) as url:
        session = post(url, ada.token, INITIALIZE).headers["mcp-session-id"]
        post(url, ada.token, {"jsonrpc": "2.0", "method": "notifications/initialized"}, session)
        for stranger in (bob, adas_second):
            answer = post(url, stranger.token, CALL, session)
            assert answer.status_code == 404
            assert ada.hash not in answer.text
        assert httpx2.delete(url, headers={"authorization": f"Bearer {bob.token}", "mcp-session-id": session}).is_error
        assert ada.hash in post(url, ada.token, CALL, session).text


@pytest.mark.parametrize("dead", ["deleted", "unknown"])
def test_a_dead_token_cannot_use_its_session(vault: TokenRepository, ada: IssuedToken, dead: str) -> None:
    vault.add_api_token(tenant_hash=ada.hash)
    with serving(vault) as url:
        session = post(url, ada.token, INITIALIZE).headers["mcp-session-id"]
        if dead == "deleted":
            vault.delete_api_token(ada.hash)
        token = ada.token if dead == "deleted" else "0" * 64
        assert post(url, token, CALL, session).status_code == 401
