"""What the audit trail asks of a server: there, unlike in SQLite, one transaction runs beside another."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from fusion_store import OAuthTokenData, get_repository
from fusion_store.audit import AuditOptions, verify
from fusion_store.backend import RecordRepository
from fusion_store.testing import ManualClock
from tests.servers.conftest import rows
from tests.servers.databases import engine_for

DAY = timedelta(days=1)
COUNT_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist "
    "ON id = trx_mysql_thread_id WHERE db = DATABASE() AND trx_state = 'LOCK WAIT'",
}


@contextmanager
def locked_chain(url: str, tenant_hash: str) -> Iterator[None]:
    """The row of a chain, held by another transaction."""
    with engine_for(url).execution_options(isolation_level="READ COMMITTED").begin() as other:
        other.exec_driver_sql(f"SELECT * FROM audit_chains WHERE tenant_hash = '{tenant_hash}' FOR UPDATE")
        yield


@pytest.mark.parametrize("is_deleted", [True, False])
def test_of_two_that_purge_the_same_chain_at_once_one_does(
    server: str, url: str, raw: Connection, is_deleted: bool
) -> None:
    clock = ManualClock()
    purged: list[object] = []

    def purge(repository: RecordRepository) -> None:
        try:
            purged.append(repository.purge_expired()["audit_records"])
        except Exception as error:
            purged.append(error)

    with (
        get_repository(url, clock=clock, audit=AuditOptions(keep=DAY)) as one,
        get_repository(url, clock=clock) as other,
    ):
        assert isinstance(one, RecordRepository)
        assert isinstance(other, RecordRepository)
        tenant = one.add_api_token().hash
        one.store_oauth_token(tenant, "github", OAuthTokenData("access"))
        if is_deleted:
            one.delete_tenant(tenant)
        old = len(one.audit_log())
        clock.advance(2 * DAY)

        threads = [threading.Thread(target=purge, args=(repository,)) for repository in (one, other)]
        # Both see the old records before either may cut them off.
        with locked_chain(url, ""):
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + 20
            while rows(raw, COUNT_WAITING[server]) != [(2,)]:
                assert time.monotonic() < deadline
                # MariaDB shows what it showed before to those who ask again within a tenth of a second.
                time.sleep(0.15)
        for thread in threads:
            thread.join()

        assert sorted(purged, key=str) == [0, old]
        assert [record.action for record in one.audit_log()] == ["audit.purge"]
        report = verify(one)
        assert report.ok, report.faults
        assert one.check().ok
