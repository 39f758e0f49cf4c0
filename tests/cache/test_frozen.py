"""A network that freezes gives no error: what was cached is answered up to the bound, and not a moment longer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import make_url

from fusion_store import get_repository
from fusion_store.layers import CachedTokenRepository, CacheOptions
from tests.servers.databases import VARIABLES, emptied_database, server_url
from tests.servers.proxy import Proxy, proxy_to

BOUND = timedelta(seconds=0.5)
SERVERS = [server for server in VARIABLES if server_url(server)]


def last_time(recalled: Callable[[], object]) -> float:
    """When the last call began that was answered from memory."""
    last, began = -math.inf, time.monotonic()
    while recalled() is not None:
        last, began = began, time.monotonic()
    return last


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_does_not_answer_is_not_covered_up_past_the_bound(server: str) -> None:
    url = make_url(emptied_database(server))
    assert url.host
    with (
        get_repository(url.render_as_string(hide_password=False)) as other,
        proxy_to(url.host, url.port or {"postgresql": 5432, "mariadb": 3306}[server]) as proxy,
        ThreadPoolExecutor(1) as threads,
    ):
        through = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        with get_repository(through, cache=CacheOptions(bound=BOUND)) as vault, thawed(proxy):
            assert isinstance(vault, CachedTokenRepository)
            kept, revoked = vault.add_api_token(), vault.add_api_token()
            for issued in (kept, revoked):
                assert vault.validate_api_token(issued.token)

            proxy.goes_on.clear()
            frozen = time.monotonic()
            assert last_time(lambda: vault.recall_api_token(kept.token)) <= frozen + BOUND.total_seconds()
            asking = threads.submit(vault.validate_api_token, revoked.token)
            other.delete_api_token(revoked.hash)
            assert not asking.done()
            proxy.goes_on.set()

            assert asking.result(60) is None
            while vault.recall_api_token(kept.token) is None:
                assert vault.validate_api_token(kept.token)


@contextmanager
def thawed(proxy: Proxy) -> Iterator[None]:
    """Whatever happens, the proxy goes on in the end."""
    try:
        yield
    finally:
        proxy.goes_on.set()
