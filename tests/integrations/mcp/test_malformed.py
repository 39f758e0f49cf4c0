"""Whatever stands in ``Authorization``, an MCP server behind the vault answers 401."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusion_store import TokenRepository
from fusion_store.integrations.mcp import FusionGuard, FusionTokenVerifier
from tests.http.servers import call
from tests.integrations.mcp.peers import make_server

HEADERS = st.binary(max_size=200) | st.binary(max_size=200).map(lambda value: b"Bearer " + value)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(HEADERS, max_size=2))
def test_malformed_credentials_are_refused(
    vault: TokenRepository, caplog: pytest.LogCaptureFixture, values: list[bytes]
) -> None:
    app = FusionGuard(make_server(FusionTokenVerifier(vault)).streamable_http_app())
    headers = [(b"authorization", value) for value in values]
    status, answered = asyncio.run(call(app, headers, path="/mcp", method="POST"))
    assert status == 401
    assert answered["www-authenticate"].startswith("Bearer ")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
