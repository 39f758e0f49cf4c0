from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fusion_store import TokenRepository, get_repository
from tests.chaos.instances import SERVERS, Instance
from tests.crash.surroundings import MEMORY
from tests.crash.trials import Worker
from tests.servers.databases import engine_for


@pytest.fixture(scope="session")
def places() -> Iterator[Path]:
    """A folder for the servers, which other accounts may enter."""
    with TemporaryDirectory(prefix="fusion-store-chaos-", dir=MEMORY) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def worker(places: Path) -> Iterator[Worker]:
    with Worker(places / "strace.log") as started:
        yield started


@pytest.fixture(scope="session", params=list(SERVERS))
def instance(request: pytest.FixtureRequest, places: Path) -> Iterator[Instance]:
    """A running server."""
    folder = places / request.param
    folder.mkdir()
    server = SERVERS[request.param](folder)
    try:
        server.make()
        server.start()
        with engine_for(server.url(server.admin_database)).connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE vault")
        get_repository(server.url()).close()
        yield server
    finally:
        server.close()


@pytest.fixture
def url(instance: Instance) -> str:
    """The URL of an empty vault."""
    empty(instance.url())
    return instance.url()


@pytest.fixture
def vault(url: str) -> Iterator[TokenRepository]:
    with get_repository(url) as opened:
        yield opened


def empty(url: str) -> None:
    """Take everything out of a vault."""
    with get_repository(url) as opened:
        for tenant in opened.list_tenants(limit=1000):
            opened.delete_tenant(tenant.tenant_hash)
    with engine_for(url).connect() as connection:
        for table in ("oauth_tokens", "service_credentials", "counters", "auth_codes", "marks"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
