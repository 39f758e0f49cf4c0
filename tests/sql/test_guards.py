"""What the vault insists on with SQLite; each test fails when its guard is taken out."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from fusion_store import (
    Busy,
    OAuthTokenData,
    ReadOnly,
    StorageFull,
    StorageIO,
    TokenRepository,
    get_repository,
)
from fusion_store_sql._sqlite import _use_wal
from tests.sql.conftest import fill, raw, run_at_once


@pytest.fixture
def connections() -> Iterator[list[sqlite3.Connection]]:
    """Every connection that any pool makes."""
    made: list[sqlite3.Connection] = []

    def note(connection: sqlite3.Connection, record: object) -> None:
        made.append(connection)

    event.listen(Pool, "connect", note)
    yield made
    event.remove(Pool, "connect", note)


def test_every_connection_has_the_pragmas(connections: list[sqlite3.Connection], repository: TokenRepository) -> None:
    repository.add_api_token()
    assert connections
    for connection in connections[-1:]:
        pragmas = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("foreign_keys", "synchronous", "journal_mode", "secure_delete")
        }
        assert pragmas == {"foreign_keys": 1, "synchronous": 2, "journal_mode": "wal", "secure_delete": 1}


def test_foreign_keys_are_checked_at_checkout(
    connections: list[sqlite3.Connection], repository: TokenRepository, path: Path
) -> None:
    tenant = fill(repository, 1)[0]
    for connection in connections:
        try:
            connection.execute("PRAGMA foreign_keys = OFF")
        except sqlite3.ProgrammingError:
            continue
    assert repository.delete_tenant(tenant)
    with raw(path) as check:
        assert check.execute("SELECT count(*) FROM oauth_tokens").fetchone() == (0,)


def test_deleted_secrets_are_gone_from_the_file(repository: TokenRepository, path: Path) -> None:
    tenant = repository.add_api_token().hash
    repository.store_oauth_token(tenant, "github", OAuthTokenData("canary-" * 50))
    repository.delete_tenant(tenant)
    repository.close()
    data = path.read_bytes()
    assert b"canary-" not in data
    assert tenant.encode() not in data


def test_writers_of_many_processes_meet_no_lock_error(repository: TokenRepository, path: Path) -> None:
    tenant = repository.add_api_token().hash
    code = """
import sys
from fusion_store import OAuthTokenData, VersionConflict, get_repository
with get_repository(sys.argv[1]) as repository:
    done = 0
    while done < 25:
        standing = repository.get_oauth_token(sys.argv[2], "counter")
        seen = standing.version if standing else 0
        try:
            repository.store_oauth_token(sys.argv[2], "counter", OAuthTokenData("x"), expected_version=seen)
        except VersionConflict:
            continue
        done += 1
"""
    run_at_once(code, f"sqlite:///{path}", tenant, processes=4)
    stored = repository.get_oauth_token(tenant, "counter")
    assert stored is not None
    assert stored.version == 100


def test_a_lock_held_too_long_is_busy(path: Path) -> None:
    with get_repository(f"sqlite:///{path}?lock_timeout=0.1") as repository:
        with raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Busy) as caught:
                repository.add_api_token()
            assert caught.value.retryable
            assert repository.list_api_tokens() == []
        repository.add_api_token()


def test_a_full_disk_changes_nothing_and_writing_goes_on_once_there_is_room(
    connections: list[sqlite3.Connection], repository: TokenRepository
) -> None:
    tenant = repository.add_api_token().hash
    connections[-1].execute("PRAGMA max_page_count = 1")
    before = list(repository.export_records())
    with pytest.raises(StorageFull) as caught:
        repository.store_oauth_token(tenant, "github", OAuthTokenData("x" * 60_000))
    assert caught.value.retryable
    assert list(repository.export_records()) == before
    connections[-1].execute("PRAGMA max_page_count = 1000000")
    repository.store_oauth_token(tenant, "github", OAuthTokenData("x" * 60_000))
    assert repository.check().ok


def test_a_write_that_fails_in_the_commit_has_an_unknown_outcome(repository: TokenRepository, path: Path) -> None:
    tenant = repository.add_api_token().hash
    repository.close()
    code = """
import resource, signal, sys
from fusion_store import FusionStoreError, OAuthTokenData, OutcomeUnknown, get_repository
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
repository = get_repository(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
stored = 0
try:
    while stored < 100:
        repository.store_oauth_token(sys.argv[2], f"service {stored}", OAuthTokenData("x" * 30_000))
        stored += 1
except OutcomeUnknown:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert stored < 100
assert len(repository.list_oauth_tokens(sys.argv[2])) in (stored, stored + 1)
repository.store_oauth_token(sys.argv[2], "again", OAuthTokenData("y"))
assert repository.check().ok
"""
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{path}", tenant], check=True)


def test_a_store_that_cannot_be_written_is_read_only(
    connections: list[sqlite3.Connection], repository: TokenRepository
) -> None:
    hash = repository.add_api_token().hash
    connections[-1].execute("PRAGMA query_only = ON")
    with pytest.raises(ReadOnly):
        repository.delete_api_token(hash)
    assert repository.get_api_token(hash)
    connections[-1].execute("PRAGMA query_only = OFF")


def test_closing_waits_for_calls_of_other_threads(path: Path) -> None:
    """Closing a connection under another thread's call would crash the interpreter."""
    code = """
import sys, threading
from fusion_store import OAuthTokenData, StoreClosed, get_repository
for _ in range(20):
    repository = get_repository(sys.argv[1])
    tenant = repository.add_api_token().hash
    ready = threading.Barrier(9)
    def work():
        ready.wait()
        try:
            while True:
                repository.list_oauth_tokens(tenant)
                repository.store_oauth_token(tenant, "s", OAuthTokenData("x"))
        except StoreClosed:
            pass
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads: thread.start()
    ready.wait()
    repository.close()
    for thread in threads: thread.join()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code, f"sqlite:///{path}"], check=True)


def test_a_thread_that_ends_holds_no_connection(
    connections: list[sqlite3.Connection], repository: TokenRepository
) -> None:
    def work() -> None:
        repository.list_api_tokens()

    for _ in range(50):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(connections) <= 4


def test_a_forked_child_goes_on_and_so_does_its_parent(repository: TokenRepository, path: Path) -> None:
    code = """
import os, sys
from sqlalchemy import event
from sqlalchemy.pool import Pool
from fusion_store import get_repository
repository = get_repository(sys.argv[1])
repository.validate_api_token(repository.add_api_token("parent").token)
made = []
event.listen(Pool, "connect", lambda connection, record: made.append(connection))
child = os.fork()
if not child:
    repository.add_api_token("child")
    repository.close()
    os._exit(not made)
assert os.waitpid(child, 0)[1] == 0
repository.add_api_token("parent again")
repository.close()
"""
    repository.close()
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, f"sqlite:///{path}"], check=True)
    with get_repository(f"sqlite:///{path}") as opened:
        assert {t.description for t in opened.list_api_tokens()} == {"parent", "child", "parent again"}
        assert opened.check().ok


def test_where_no_write_ahead_log_can_be_kept_there_is_no_vault(path: Path) -> None:
    path.parent.mkdir()
    with (
        closing(sqlite3.connect(f"file:{path}?vfs=unix-dotfile", uri=True)) as connection,
        pytest.raises(StorageIO, match="write-ahead log"),
    ):
        _use_wal(connection, lock_timeout=1)


def test_claims_are_exclusive_across_processes(repository: TokenRepository, path: Path) -> None:
    tenant = repository.add_api_token().hash
    code = """
import sys
from datetime import timedelta
from fusion_store import get_repository
with get_repository(sys.argv[1]) as repository:
    print(bool(repository.claim_refresh(sys.argv[2], "github", ttl=timedelta(minutes=5))))
"""
    answers = sorted(run_at_once(code, f"sqlite:///{path}", tenant, processes=4))
    assert answers == ["False", "False", "False", "True"]
    assert repository.claim_refresh(tenant, "github", ttl=timedelta(minutes=5)) is None
