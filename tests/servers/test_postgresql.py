"""What is PostgreSQL's own."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, make_url

from fusion_store import ReadOnly, TokenRepository, Unavailable, get_repository
from fusion_store._registry import find_backend
from fusion_store_sql import SQLTokenRepository
from fusion_store_sql._backend import _locate
from tests.servers.conftest import rows


@pytest.fixture
def server() -> str:
    return "postgresql"


def database_of(url: str) -> str:
    return str(make_url(url).database)


def test_commits_wait_for_the_disk_whatever_the_database_says(url: str, raw: Connection) -> None:
    raw.exec_driver_sql(f"ALTER DATABASE {database_of(url)} SET synchronous_commit = off")
    with get_repository(url) as repository:
        assert isinstance(repository, SQLTokenRepository)
        with repository._database.read() as connection:
            assert rows(connection, "SHOW synchronous_commit") == [("on",)]


def test_a_database_that_takes_no_writes_is_read_only_and_still_read(
    repository: TokenRepository, url: str, raw: Connection
) -> None:
    issued = repository.add_api_token()
    raw.exec_driver_sql(f"ALTER DATABASE {database_of(url)} SET default_transaction_read_only = on")
    with get_repository(url) as standby:
        assert standby.validate_api_token(issued.token) is not None
        with pytest.raises(ReadOnly):
            standby.add_api_token()
        assert standby.check().ok
        raw.exec_driver_sql(f"ALTER DATABASE {database_of(url)} RESET default_transaction_read_only")


def test_the_schema_moves_in_the_transaction_that_keeps_others_out(repository: TokenRepository, url: str) -> None:
    # Behind a pooler whose connections are all held by those who wait, there is no second one.
    with _locate(find_backend(url)[1]).migrating() as connection:
        under_way = rows(
            connection,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND xact_start IS NOT NULL",
        )
    assert under_way == [(1,)]


def test_encryption_on_the_wire_is_used_where_it_is_asked_for(url: str, raw: Connection) -> None:
    has_tls = rows(raw, "SHOW ssl") == [("on",)]
    if not has_tls:
        with pytest.raises(Unavailable):
            get_repository(f"{url}?sslmode=require")
        return
    for mode in ("require", "disable"):
        with get_repository(f"{url}?sslmode={mode}") as repository:
            assert isinstance(repository, SQLTokenRepository)
            with repository._database.read() as connection:
                in_use = rows(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert in_use == [(mode == "require",)]
