"""FastMCP's middleware remembers answers in the vault."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.server.middleware.caching import ResponseCachingMiddleware

from fusion_store import TokenRepository, get_repository
from fusion_store.integrations.key_value import FusionKeyValueStore

SAFE_ITEM_SIZE = 32_000


class Counting:
    """A server whose one tool answers so many characters, and says how often it was asked."""

    def __init__(self, vault: TokenRepository) -> None:
        self.asked = 0
        self.server: FastMCP[Any] = FastMCP("counting")
        storage = FusionKeyValueStore(vault)
        self.server.add_middleware(ResponseCachingMiddleware(storage, max_item_size=SAFE_ITEM_SIZE))
        self.server.tool(self.quotes)

    def quotes(self, count: int) -> str:
        self.asked += 1
        return '"' * count

    def ask(self, count: int) -> str:
        async def run() -> str:
            async with Client(self.server) as client:
                return str((await client.call_tool("quotes", {"count": count})).data)

        return asyncio.run(run())


def test_answers_are_remembered_over_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vault.db"
    for asked in (1, 0):
        with get_repository(url) as vault:
            counting = Counting(vault)
            assert counting.ask(10) == '"' * 10
            assert counting.asked == asked


@pytest.mark.parametrize("count", [3_000, 7_500, 12_000, 20_000, 40_000, 100_000])
def test_an_answer_of_any_size_is_given(vault: TokenRepository, count: int) -> None:
    counting = Counting(vault)
    for _ in range(2):
        assert counting.ask(count) == '"' * count
    assert counting.asked in (1, 2)
