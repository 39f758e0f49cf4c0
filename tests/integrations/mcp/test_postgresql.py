"""A store that is away, and comes back."""

from __future__ import annotations

import httpx2
import pytest

from fusion_store import get_repository
from tests.integrations.mcp.peers import MODES, Mode, ask, is_unavailable, refused, serving
from tests.servers.databases import new_database
from tests.servers.proxy import proxy_to


@pytest.mark.parametrize("mode", MODES)
def test_while_the_database_is_away_the_answer_is_503_and_then_all_is_well(mode: Mode) -> None:
    with new_database("postgresql") as database, get_repository(database) as direct:
        ada = direct.add_api_token(scopes=("read",))
        parts = httpx2.URL(database)
        with proxy_to(parts.host, parts.port or 5432) as proxy:
            through = str(parts.copy_with(host="127.0.0.1", port=proxy.port))
            with get_repository(through) as vault, serving(vault) as url:
                assert ask(url, ada.token, mode) == ada.hash
                proxy.refuses = True
                proxy.cut_all()
                assert is_unavailable(refused(url, ada.token, mode))
                proxy.refuses = False
                assert ask(url, ada.token, mode) == ada.hash
