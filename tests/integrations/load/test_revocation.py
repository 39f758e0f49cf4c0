"""A revoked token is refused by every worker process, while many clients keep them busy."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fusion_store import IssuedToken, TokenRepository, get_repository
from fusion_store.layers import CacheOptions
from tests.integrations.load.clients import Client, Watch, keep_asking
from tests.integrations.load.servers import workers
from tests.servers.databases import new_database, server_url

LARGE = "FUSION_STORE_TEST_LOAD" in os.environ
CLIENTS, REVOCATIONS = (64, 100) if LARGE else (16, 20)
STORES = ["sqlite", *["postgresql"] * (server_url("postgresql") is not None)]

Revoke = Callable[[TokenRepository, IssuedToken], object]
CACHE_BOUND = CacheOptions().bound.total_seconds()
WAYS: list[Revoke] = [
    lambda vault, issued: vault.delete_api_token(issued.hash),
    lambda vault, issued: vault.delete_tenant(issued.metadata.tenant_hash),
    lambda vault, issued: vault.rotate_api_token(issued.hash),
]


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path}/vault.db"
        else:
            yield stack.enter_context(new_database(request.param))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("application", ["plain", "mcp"])
@pytest.mark.parametrize("bound", [0.0, CACHE_BOUND], ids=["uncached", "cached"])
def test_every_worker_refuses_a_revoked_token(tmp_path: Path, url: str, application: str, bound: float) -> None:
    """Without a cache at once; with one, within its bound."""
    log = tmp_path / "log"
    environment = {"LOAD_VAULT": url, "LOAD_APPLICATION": application} | ({"LOAD_CACHE": "1"} if bound else {})
    with get_repository(url) as vault:
        issued = [vault.add_api_token() for _ in range(REVOCATIONS)]
        with workers(log, **environment) as port:
            watch = asyncio.run(revoke_under_load(vault, issued, port, application, bound))
    print(f"{watch.asked} requests; let in for {watch.longest:.3f} s after the revocation")  # noqa: T201 - a figure
    assert watch.wrong == []
    assert len(watch.revoked_at) == len(watch.refused) == REVOCATIONS
    assert all(len(refused_by) == 2 for refused_by in watch.refused.values())
    assert "Traceback" not in log.read_text()


async def revoke_under_load(
    vault: TokenRepository, issued: list[IssuedToken], port: int, application: str, bound: float
) -> Watch:
    watch = Watch(bound, [one.token for one in issued])
    async with asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            clients.create_task(keep_asking(watch, Client(application, port), number))
        for number, one in enumerate(issued):
            while not watch.has_passed_everywhere(one.token) and not watch.wrong:
                await asyncio.sleep(0.01)
            watch.revoking.add(one.token)
            await asyncio.to_thread(WAYS[number % len(WAYS)], vault, one)
            watch.revoked_at[one.token] = time.monotonic()
    return watch
