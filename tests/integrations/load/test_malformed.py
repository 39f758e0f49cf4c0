"""Headers that no client should send, to an MCP server: each is refused, and nothing breaks."""

from __future__ import annotations

import http.client
import logging
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fusion_store import get_repository
from tests.http.test_malformed import SEED, as_sent, malformed
from tests.integrations.mcp.peers import serving


@pytest.mark.timeout(300)
def test_malformed_headers_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING)
    with get_repository(f"sqlite:///{tmp_path}/vault.db") as vault, serving(vault) as url:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc)
        for value in map(as_sent, malformed(2_000, SEED + 2)):
            connection.request("GET", parts.path, headers={"Authorization": value})
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (400, 401), value
        connection.close()

    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    assert "Traceback" not in "".join(capfd.readouterr())
