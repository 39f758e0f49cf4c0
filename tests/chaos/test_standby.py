"""Servers that take no writes, and transactions that a deadlock breaks off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url

from fusion_store import OAuthTokenData, ReadOnly, TokenRepository, get_repository
from tests.chaos.instances import Instance, PostgreSQL
from tests.crash.surroundings import wait_for
from tests.servers.conftest import rows
from tests.servers.databases import engine_for


@contextmanager
def standby_of(instance: Instance, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of a server that holds the same and takes no writes, and what makes it take them."""
    if isinstance(instance, PostgreSQL):
        folder.mkdir()
        server = PostgreSQL(folder)
        try:
            server.copy_of(instance)
            server.start()
            yield server.url(), server.promote
        finally:
            server.close()
    else:
        with engine_for(instance.url()).connect() as connection:
            connection.exec_driver_sql("CREATE OR REPLACE USER host@'127.0.0.1'")
            connection.exec_driver_sql("GRANT ALL ON vault.* TO host@'127.0.0.1'")
            connection.exec_driver_sql("SET GLOBAL read_only = 1")
            url = make_url(instance.url()).set(username="host").render_as_string()
            yield url, lambda: connection.exec_driver_sql("SET GLOBAL read_only = 0").close()


def test_a_standby_is_read_and_takes_writes_once_it_is_promoted(
    instance: Instance, vault: TokenRepository, places: Path
) -> None:
    issued = vault.add_api_token()
    with standby_of(instance, places / "standby") as (url, promote), get_repository(url, create=False) as standby:
        wait_for(lambda: standby.validate_api_token(issued.token) is not None)
        writes: list[Callable[[], object]] = [standby.add_api_token, lambda: standby.delete_tenant(issued.hash)]
        for write in writes:
            with pytest.raises(ReadOnly):
                write()
        assert not standby.health().ok
        assert standby.check().ok
        promote()
        wait_for(lambda: standby.health().ok)
        assert standby.delete_tenant(issued.hash)
        assert standby.validate_api_token(issued.token) is None


DEADLOCKS = {
    "postgresql": "SELECT 'deadlocks', deadlocks FROM pg_stat_database WHERE datname = current_database()",
    "mariadb": "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'",
}


def deadlocks(instance: Instance) -> int:
    with engine_for(instance.url()).connect() as connection:
        return int(rows(connection, DEADLOCKS[instance.name])[0][1])


def lock(connection: Connection, tenant: str) -> None:
    connection.exec_driver_sql(f"SELECT * FROM tenants WHERE tenant_hash = '{tenant}' FOR UPDATE")


def test_a_call_that_a_deadlock_breaks_off_is_run_again(instance: Instance, vault: TokenRepository) -> None:
    before = deadlocks(instance)
    first, second = sorted(vault.add_api_token().hash for _ in range(2))
    with get_repository("memory://") as other:
        other.import_records(vault.export_records())
        for tenant in (first, second):
            other.store_oauth_token(tenant, "github", OAuthTokenData("moved"))
        records = list(other.export_records())
    moved = list[int]()
    call = threading.Thread(target=lambda: moved.append(vault.import_records(records)))
    with engine_for(instance.url()).execution_options(isolation_level="READ COMMITTED").begin() as rival:
        # What has changed more is rather left alone.
        for number in range(20):
            rival.exec_driver_sql(f"INSERT INTO marks VALUES ('rival {number}', '')")
        lock(rival, second)
        call.start()
        time.sleep(0.3)
        lock(rival, first)
    call.join()
    assert moved == [4]
    wait_for(lambda: deadlocks(instance) > before)
    for tenant in (first, second):
        assert vault.get_oauth_token(tenant, "github")
