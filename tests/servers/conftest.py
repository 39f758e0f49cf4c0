from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Connection

from fusion_store import TokenRepository, get_repository
from tests.servers.databases import VARIABLES, engine_for, new_database, server_url

collect_ignore = [f"test_{server}.py" for server in VARIABLES if server_url(server) is None]

SERVERS = [server for server in VARIABLES if server_url(server) is not None]


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def url(server: str) -> Iterator[str]:
    """A new, empty database."""
    with new_database(server) as made:
        yield made


@pytest.fixture
def repository(url: str) -> Iterator[TokenRepository]:
    with get_repository(url) as opened:
        yield opened


@pytest.fixture
def raw(url: str) -> Iterator[Connection]:
    """A connection of the test's own, in autocommit."""
    with engine_for(url).connect() as connection:
        yield connection


def rows(connection: Connection, statement: str) -> list[tuple[Any, ...]]:
    with closing(connection.exec_driver_sql(statement)) as result:
        return [tuple(row) for row in result]
