"""Writers at a time share a commit, and nothing else: neither their failures nor their interruptions."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from fusion_store import (
    SYSTEM_TENANT,
    AlreadyExists,
    OAuthTokenData,
    OutcomeUnknown,
    StorageFull,
    TenantNotFound,
    TokenRepository,
    VersionConflict,
)
from fusion_store.backend import APITokenRecord, Kind, Place, TenantRecord
from fusion_store_sql import SQLTokenRepository
from tests.sql.conftest import raw

STATEMENTS = list[str]


@pytest.fixture
def statements(path: Path) -> Iterator[STATEMENTS]:
    """What SQLite runs on every connection made from now on."""
    run: STATEMENTS = []

    def trace(connection: sqlite3.Connection, record: object) -> None:
        connection.set_trace_callback(run.append)

    event.listen(Pool, "connect", trace)
    yield run
    event.remove(Pool, "connect", trace)


def waiting(repository: TokenRepository) -> int:
    assert isinstance(repository, SQLTokenRepository)
    assert repository._database._group is not None
    return len(repository._database._group._queue)


@contextmanager
def gathered(repository: TokenRepository, path: Path, operations: list[Callable[[], object]]) -> Iterator[list[object]]:
    """What each operation, run in a thread of its own, answers or raises; all wait until the end of the block."""
    outcomes: list[object] = [None] * len(operations)

    def work(number: int) -> None:
        try:
            outcomes[number] = operations[number]()
        except Exception as error:
            outcomes[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(operations))]
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while waiting(repository) < len(threads) - 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        yield outcomes
        other.execute("ROLLBACK")
    for thread in threads:
        thread.join()


def test_those_who_wait_share_one_commit(statements: STATEMENTS, repository: TokenRepository, path: Path) -> None:
    operations: list[Callable[[], object]] = [partial(repository.add_api_token, f"{number}") for number in range(16)]
    with gathered(repository, path, operations):
        statements.clear()
    assert [statement for statement in statements if statement == "COMMIT"] == ["COMMIT"]
    assert repository.stats().api_tokens == 16


def test_a_write_is_one_transaction_of_a_few_statements(statements: STATEMENTS, repository: TokenRepository) -> None:
    tenant = repository.add_api_token().hash
    for number in range(20):
        repository.store_oauth_token(tenant, f"service {number}", OAuthTokenData("x"))
    statements.clear()
    repository.add_api_token()
    assert len(statements) <= 7, statements
    assert statements.count("COMMIT") == 1
    statements.clear()
    assert repository.delete_tenant(tenant)
    assert statements.count("COMMIT") == 1


def test_a_change_that_fails_fails_alone(repository: TokenRepository, path: Path) -> None:
    standing = repository.add_api_token("standing")
    token = repository.read_api_token(standing.hash) if isinstance(repository, SQLTokenRepository) else None
    assert isinstance(repository, SQLTokenRepository)
    assert isinstance(token, APITokenRecord)
    store = partial(repository.store_oauth_token, standing.hash)
    new_tenant = TenantRecord("a" * 64, 1)
    operations: list[Callable[[], object]] = [
        partial(repository.add_api_token, "first"),
        # Fails when it has added the tenant.
        partial(repository.insert_api_token, token, new_tenant, repository.mode),
        partial(repository.add_api_token, "second"),
        partial(store, "stale", OAuthTokenData("x"), expected_version=7),
        partial(repository.add_api_token, tenant_hash="b" * 64),
        partial(store, "github", OAuthTokenData("x")),
    ]
    with gathered(repository, path, operations) as outcomes:
        pass
    failures = [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
    assert failures == [AlreadyExists, VersionConflict, TenantNotFound]
    with raw(path) as connection:
        described = connection.execute("SELECT description FROM api_tokens ORDER BY 1").fetchall()
        assert described == [("first",), ("second",), ("standing",)]
        assert connection.execute("SELECT service, version FROM oauth_tokens").fetchall() == [("github", 1)]
        assert connection.execute("SELECT count(*) FROM tenants").fetchone() == (4,)
    assert repository.check().ok


def test_a_failure_that_undoes_the_transaction_takes_nobody_along(repository: TokenRepository, path: Path) -> None:
    tenant = repository.add_api_token().hash
    # As SQLite may do by itself where there is no room, memory or disk to go on with.
    with raw(path) as connection:
        connection.execute(
            "CREATE TRIGGER undoing BEFORE INSERT ON oauth_tokens WHEN NEW.service = 'undoing' "
            "BEGIN SELECT RAISE(ROLLBACK, 'undone'); END"
        )
    services = ("first", "undoing", "last")
    operations: list[Callable[[], object]] = [
        partial(repository.store_oauth_token, tenant, service, OAuthTokenData("x")) for service in services
    ]
    with gathered(repository, path, operations) as outcomes:
        pass
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, False]
    assert set(repository.list_oauth_tokens(tenant)) == {"first", "last"}
    assert repository.check().ok


def test_a_full_disk_fails_those_who_need_room(repository: TokenRepository, path: Path) -> None:
    tenant = repository.add_api_token().hash
    repository.store_oauth_token(tenant, "old", OAuthTokenData("x"))
    assert isinstance(repository, SQLTokenRepository)
    (session,) = repository._database._sessions._idle
    big = OAuthTokenData("x" * 60_000)
    operations: list[Callable[[], object]] = [
        partial(repository.store_oauth_token, tenant, "big", big),
        partial(repository.delete_oauth_token, tenant, "old"),
        partial(repository.store_oauth_token, tenant, "bigger", big),
    ]
    session.driver.execute("PRAGMA max_page_count = 1")
    with gathered(repository, path, operations) as outcomes:
        pass
    assert isinstance(outcomes[0], StorageFull)
    assert outcomes[1] is True
    assert isinstance(outcomes[2], StorageFull)
    assert repository.list_oauth_tokens(tenant) == {}
    session.driver.execute("PRAGMA max_page_count = 1000000")
    repository.store_oauth_token(tenant, "big", big)
    assert repository.check().ok


def test_a_failed_commit_leaves_the_outcome_of_each_unknown(repository: TokenRepository, path: Path) -> None:
    tenant = repository.add_api_token().hash
    repository.close()
    code = """
import os, resource, signal, sqlite3, sys, threading, time
from fusion_store import OAuthTokenData, OutcomeUnknown, get_repository
path, tenant = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
repository = get_repository("sqlite:///" + path)
repository.store_oauth_token(tenant, "before", OAuthTokenData("x"))
outcomes = []
def work(number, expected_version=None):
    token = OAuthTokenData("x" * 30_000)
    try:
        outcomes.append(
            repository.store_oauth_token(tenant, f"service {number}", token, expected_version=expected_version)
        )
    except Exception as error:
        outcomes.append(error)
other = sqlite3.connect(path, isolation_level=None)
other.execute("BEGIN IMMEDIATE")
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
while len(repository._database._group._queue) < 7: time.sleep(0.01)
# In conflict with what was never committed, as far as anybody knows.
threads.append(threading.Thread(target=work, args=(0, 0)))
threads[-1].start()
while len(repository._database._group._queue) < 8: time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path + "-wal") + 50_000, resource.RLIM_INFINITY))
other.execute("ROLLBACK")
for thread in threads: thread.join()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 9, outcomes
assert len(set(map(id, outcomes))) == 9
assert len(repository.list_oauth_tokens(tenant)) in (1, 9)
repository.store_oauth_token(tenant, "again", OAuthTokenData("y"))
assert repository.check().ok
"""
    subprocess.run([sys.executable, "-c", code, str(path), tenant], check=True)


def test_what_was_acknowledged_is_there(repository: TokenRepository, path: Path) -> None:
    acknowledged: list[str] = []

    def work() -> None:
        for _ in range(30):
            acknowledged.append(repository.add_api_token().hash)  # noqa: PERF401  # kept one by one

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with raw(path) as connection:
        stored = {hash for (hash,) in connection.execute("SELECT hash FROM api_tokens")}
    assert len(acknowledged) == 16 * 30
    assert stored == set(acknowledged)


def test_no_change_is_lost_on_its_way_to_the_one_who_commits(repository: TokenRepository) -> None:
    assert isinstance(repository, SQLTokenRepository)
    database = repository._database
    ran: set[tuple[int, int]] = set()
    wrong: list[object] = []

    def change(name: tuple[int, int], connection: object) -> tuple[int, int]:
        ran.add(name)
        return name

    def work(thread: int) -> None:
        for number in range(4000):
            name = (thread, number)
            try:
                if database.write(partial(change, name)) != name or name not in ran:
                    wrong.append(name)
            except Exception as error:
                wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_interrupts_lose_nothing_of_the_other_threads(path: Path) -> None:
    code = """
import signal, sqlite3, sys, threading, time
from fusion_store import get_repository
path = sys.argv[1]
may_raise = False
def interrupted(*_):
    global may_raise
    if may_raise:
        may_raise = False
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, interrupted)
repository = get_repository("sqlite:///" + path)
acknowledged, failures, done = [], [], threading.Event()
def work():
    try:
        for _ in range(100):
            acknowledged.append(repository.add_api_token().hash)
    except BaseException as error:
        failures.append(error)
def interrupt():
    while not done.is_set():
        time.sleep(0.003)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
threads = [threading.Thread(target=work) for _ in range(4)]
interrupter = threading.Thread(target=interrupt)
interrupts = 0
for thread in [*threads, interrupter]: thread.start()
while any(thread.is_alive() for thread in threads):
    try:
        may_raise = True
        acknowledged.append(repository.add_api_token().hash)
        may_raise = False
    except KeyboardInterrupt:
        interrupts += 1
done.set()
interrupter.join()
assert not failures, failures
assert interrupts > 10, interrupts
with sqlite3.connect(path, timeout=0, isolation_level=None) as other:
    other.execute("BEGIN IMMEDIATE")
    stored = {hash for hash, in other.execute("SELECT hash FROM api_tokens")}
    other.execute("ROLLBACK")
assert len(acknowledged) >= 400
assert stored >= set(acknowledged), len(set(acknowledged) - stored)
repository.add_api_token()
repository.close()
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_an_interrupted_leader_leaves_the_outcome_of_each_unknown(repository: TokenRepository, path: Path) -> None:
    assert isinstance(repository, SQLTokenRepository)
    repository.store_oauth_token(SYSTEM_TENANT, "before", OAuthTokenData("x"))
    leading, go_on = threading.Event(), threading.Event()
    outcomes: dict[str, object] = {}

    def lead(state: object) -> None:
        leading.set()
        assert go_on.wait(20)

    def interrupted(state: object) -> None:
        raise KeyboardInterrupt

    def work(name: str, operation: Callable[[], object]) -> None:
        try:
            outcomes[name] = operation()
        except BaseException as error:
            outcomes[name] = type(error)

    def started(name: str, operation: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=work, args=(name, operation))
        thread.start()
        return thread

    place = Place(SYSTEM_TENANT, Kind.OAUTH, "github")
    change = partial(repository.change_secret, place, mode=repository.mode)
    threads = [started("leader", partial(change, lead))]
    assert leading.wait(20)
    members: dict[str, Callable[[], object]] = {
        "written": partial(repository.store_oauth_token, SYSTEM_TENANT, "written", OAuthTokenData("x")),
        "interrupting": partial(change, interrupted),
        "waiting": partial(repository.store_oauth_token, SYSTEM_TENANT, "waiting", OAuthTokenData("x")),
    }
    for number, (name, operation) in enumerate(members.items(), 1):
        threads.append(started(name, operation))
        while waiting(repository) < number:
            time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()

    assert outcomes == {"leader": KeyboardInterrupt, **dict.fromkeys(members, OutcomeUnknown)}
    with raw(path) as other:
        other.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    repository.store_oauth_token(SYSTEM_TENANT, "after", OAuthTokenData("x"))
    assert set(repository.list_oauth_tokens(SYSTEM_TENANT)) == {"before", "after"}


def test_an_interrupted_change_leaves_no_lock_behind(repository: TokenRepository, path: Path) -> None:
    assert isinstance(repository, SQLTokenRepository)
    repository.store_oauth_token(SYSTEM_TENANT, "github", OAuthTokenData("x"))

    def interrupted(state: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        repository.change_secret(Place(SYSTEM_TENANT, Kind.OAUTH, "github"), interrupted, repository.mode)
    with raw(path) as other:
        other.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    assert caught.value is not None
    assert repository.delete_oauth_token(SYSTEM_TENANT, "github")
