"""Failed writes, and writes that share an fsync."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fusion_store import (
    CorruptStore,
    CredentialType,
    FusionStoreError,
    OutcomeUnknown,
    ServiceCredentials,
    StorageFull,
    StorageIO,
    StoreClosed,
    StoreError,
)
from tests.leveldb.conftest import Opener, Runner, raw

pytest.importorskip("plyvel")

import plyvel

from fusion_store_leveldb import LevelDBTokenRepository
from fusion_store_leveldb._errors import DRIVER_ERRORS, translate
from fusion_store_leveldb._session import Changes, Session

FULL = """
import json, os, resource, sys, threading
from fusion_store import CredentialType, FusionStoreError, OutcomeUnknown, ServiceCredentials, StorageFull, StoreError
from fusion_store_leveldb import LevelDBTokenRepository

folder, room = sys.argv[1], int(sys.argv[2])
repository = LevelDBTokenRepository(folder)
tenants = [repository.add_api_token().hash for _ in range(8)]
acknowledged, failures = [], []

def write(tenant, first, count):
    for number in range(first, first + count):
        secret = os.urandom(2_000).hex()
        try:
            repository.store_credentials(
                tenant, str(number), ServiceCredentials(CredentialType.CUSTOM, {"secret": secret})
            )
        except StoreError as error:
            failures.append(type(error).__name__)
            assert folder not in str(error) and secret not in str(error), error
            assert error.__cause__ is None and error.__suppress_context__
        else:
            acknowledged.append((tenant, str(number), secret))

def write_all(first, count):
    threads = [threading.Thread(target=write, args=(tenant, first, count)) for tenant in tenants]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

def missing():
    return [place for *place, secret in acknowledged
            if repository.get_credentials(*place, CredentialType.CUSTOM).data != {"secret": secret}]

write_all(0, 5)
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
write_all(100, 30)
try:
    repository.stats()
    while_full = "works"
except FusionStoreError as error:
    while_full = type(error).__name__
health = repository.health().ok
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
write_all(200, 5)
lost = missing()
ok = repository.check().ok
repository.close()
repository = LevelDBTokenRepository(folder)
print(json.dumps({"failures": failures, "while_full": while_full, "health": health, "acknowledged": len(acknowledged),
                  "lost": lost, "lost_after_reopening": missing(), "check": ok and repository.check().ok}))
"""


@pytest.mark.parametrize("room", [200_000, 60_000])
def test_no_acknowledged_write_is_lost_when_the_room_runs_out(run: Runner, room: int) -> None:
    answer = json.loads(run(FULL, room))

    assert answer["lost"] == answer["lost_after_reopening"] == []
    assert answer["check"]
    assert answer["acknowledged"] >= 80
    assert "OutcomeUnknown" in answer["failures"]
    assert set(answer["failures"]) <= {"OutcomeUnknown", "StorageFull"}
    if room == 60_000:
        # The log no longer fits a table, so that the database can't even be reopened.
        assert answer["while_full"] == "StorageFull"
        assert not answer["health"]


class Failing:
    """A database whose next batches fail, or are watched."""

    def __init__(self, database: Any, before_write: Callable[[], None]) -> None:
        self._database = database
        self._before_write = before_write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def write_batch(self, **options: Any) -> Any:
        batch = self._database.write_batch(**options)
        outer = self

        class Batch:
            put, delete = batch.put, batch.delete

            def write(self) -> None:
                outer._before_write()
                batch.write()

        return Batch()


def watch_writes(repository: LevelDBTokenRepository, before_write: Callable[[], None]) -> None:
    session = repository._handle._session
    assert session is not None
    session._source = Failing(session._source, before_write)


def watch_syncs(session: Session) -> list[bool]:
    """Collects of each batch whether it is synced; the session is one of ``watch_writes``."""
    synced: list[bool] = []
    make = session._source.write_batch

    def watch(*, sync: bool) -> Any:
        synced.append(sync)
        return make(sync=sync)

    session._source.write_batch = watch
    return synced


def fail_with(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        plyvel.IOError(b"IO error: /secret/place/000003.log: No space left on device"),
        plyvel.CorruptionError(b"Corruption: secret"),
        plyvel.Error(b"secret"),
        RuntimeError("secret"),
        OverflowError("secret"),
        OSError(5, "secret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_first_failed_write_leaves_the_outcome_open_and_the_next_call_reopens(
    open_store: Opener, error: Exception
) -> None:
    repository = open_store()
    before = raw(repository)
    watch_writes(repository, fail_with(error))

    with pytest.raises(OutcomeUnknown) as caught:
        repository.add_api_token()
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert not caught.value.retryable

    repository.add_api_token()
    assert raw(repository) is not before
    assert before.closed
    assert repository.stats().api_tokens == 1


def test_an_interrupted_write_does_not_block_the_next(open_store: Opener) -> None:
    repository = open_store()
    watch_writes(repository, fail_with(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        repository.add_api_token()
    repository.add_api_token()


def test_a_failed_write_raises_the_change_signal(open_store: Opener) -> None:
    repository = open_store()
    token = repository.add_api_token()
    signal = repository.change_signal()
    watch_writes(repository, fail_with(plyvel.IOError(b"")))
    with pytest.raises(OutcomeUnknown):
        repository.delete_api_token(token.hash)
    assert repository.change_signal() != signal


def test_writes_that_wait_behind_a_failed_one_are_refused_unwritten(open_store: Opener) -> None:
    repository = open_store()
    started, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        started.set()
        go_on.wait(10)
        raise plyvel.IOError(b"IO error: x: No space left on device")

    watch_writes(repository, fail)
    errors: list[Exception] = []

    def add() -> None:
        try:
            repository.write_mark(threading.current_thread().name, b"x")
        except FusionStoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=add) for _ in range(4)]
    threads[0].start()
    assert started.wait(10)
    session = repository._handle._session
    assert session is not None
    for thread in threads[1:]:
        thread.start()
    while len(session._waiting) < 3:
        pass
    go_on.set()
    for thread in threads:
        thread.join()

    assert len(calls) == 1
    assert sorted(type(error).__name__ for error in errors) == ["OutcomeUnknown", *["StorageFull"] * 3]
    assert [repository.read_mark(thread.name) for thread in threads] == [None] * 4


def test_the_database_is_not_closed_under_a_call(open_store: Opener) -> None:
    repository = open_store()
    before = raw(repository)
    reader = repository._handle.use()
    watch_writes(repository, fail_with(plyvel.IOError(b"")))
    with pytest.raises(OutcomeUnknown):
        repository.write_mark("name", b"x")

    writer = threading.Thread(target=repository.write_mark, args=("name", b"x"))
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    assert not before.closed

    reader.__exit__()
    writer.join(10)
    assert before.closed
    assert repository.read_mark("name") == b"x"


def test_closing_waits_for_calls_under_way(open_store: Opener) -> None:
    repository = open_store()
    before = raw(repository)
    reader = repository._handle.use()
    closer = threading.Thread(target=repository._handle.close)
    closer.start()
    closer.join(0.2)
    assert not before.closed
    reader.__exit__()
    closer.join(10)
    assert before.closed
    with pytest.raises(StoreClosed):
        repository._handle.use()


def test_reopening_that_fails_is_tried_again_by_each_call(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_store_leveldb import _folder as folders

    repository = open_store()
    watch_writes(repository, fail_with(plyvel.IOError(b"")))
    with pytest.raises(OutcomeUnknown):
        repository.add_api_token()

    with monkeypatch.context() as patch:
        patch.setattr(folders, "open_database", fail_with(StorageFull("full")))
        for _ in range(2):
            with pytest.raises(StorageFull):
                repository.stats()
    assert repository.stats().api_tokens == 0
    repository.close()
    assert open_store().stats().api_tokens == 0


def test_a_repository_that_could_not_be_reopened_closes(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_store_leveldb import _folder as folders

    repository = open_store()
    watch_writes(repository, fail_with(plyvel.IOError(b"")))
    with monkeypatch.context() as patch:
        patch.setattr(folders, "open_database", fail_with(StorageIO("broken")))
        with pytest.raises(OutcomeUnknown):
            repository.add_api_token()
        with pytest.raises(StorageIO):
            repository.add_api_token()
        repository.close()
    open_store()


def test_threads_writes_share_an_fsync_and_each_is_synced(open_store: Opener) -> None:
    repository = open_store()
    tenants = [repository.add_api_token().hash for _ in range(16)]
    batches: list[int] = []
    release = threading.Event()

    def count() -> None:
        batches.append(1)
        release.wait(10)

    watch_writes(repository, count)
    session = repository._handle._session
    assert session is not None
    synced = watch_syncs(session)
    credentials = ServiceCredentials(CredentialType.API_KEY, {"key": "x"})
    threads = [threading.Thread(target=repository.store_credentials, args=(t, "s", credentials)) for t in tenants]
    for thread in threads:
        thread.start()
    stripes = {int(tenant[:2], 16) for tenant in tenants}
    while len(session._waiting) + 1 < len(stripes):
        pass
    release.set()
    for thread in threads:
        thread.join()

    assert len(batches) <= 1 + 1 + len(tenants) - len(stripes)
    assert all(synced)
    assert repository.stats().credentials == {CredentialType.API_KEY: 16}


def test_last_used_times_are_written_unsynced_and_closed_by_one_synced_write(open_store: Opener) -> None:
    repository = open_store()
    tokens = [repository.add_api_token().hash for _ in range(40)]
    session = repository._handle._session
    assert session is not None
    watch_writes(repository, lambda: None)
    synced = watch_syncs(session)

    repository.touch_api_tokens(dict.fromkeys([*tokens, "0" * 64], 5))
    assert synced.count(True) == 1
    assert synced[-1]
    assert {token.last_used for token in repository.scan_api_tokens(None, None, 100)} == {5}
    synced.clear()
    repository.touch_api_tokens({})
    assert synced == []
    repository.touch_api_tokens({tokens[0]: 3})
    assert repository.read_api_token(tokens[0]).last_used == 5  # type: ignore[union-attr]


def test_what_leveldb_raises_never_escapes(open_store: Opener) -> None:
    repository = open_store()
    token = repository.add_api_token()
    session = repository._handle._session
    assert session is not None
    database = session._source

    class Broken:
        def __init__(self, error: Exception) -> None:
            self._error = error

        def _fail(self, *_: object, **__: object) -> Any:
            raise self._error

        get = iterator = raw_iterator = snapshot = _fail

    errors = {
        plyvel.CorruptionError(b"Corruption: /secret"): CorruptStore,
        plyvel.IOError(b"IO error: /secret: Input/output error"): StorageIO,
        plyvel.Error(b"secret"): StorageIO,
        RuntimeError("secret"): StoreClosed,
        OverflowError("secret"): StorageIO,
    }
    calls: list[Callable[[], object]] = [
        lambda: repository.get_api_token(token.hash),
        repository.list_api_tokens,
        repository.list_tenants,
        repository.stats,
        lambda: repository.get_oauth_token(token.hash, "s"),
        lambda: repository.find_api_tokens("abcd"),
        lambda: list(repository.find_damage()),
        repository.purge_expired,
        lambda: list(repository.export_records()),
    ]
    for error, expected in errors.items():
        session._source = Broken(error)
        for call in calls:
            with pytest.raises(StoreError) as caught:
                call()
            assert type(caught.value) is expected
            assert "secret" not in str(caught.value)
            assert caught.value.__suppress_context__
    session._source = database


def test_the_operating_systems_reasons_are_told_apart(tmp_path: Path) -> None:
    import errno
    import os

    for number, name in {
        errno.ENOSPC: "StorageFull",
        errno.EFBIG: "StorageFull",
        errno.EDQUOT: "StorageFull",
        errno.EACCES: "PermissionDenied",
        errno.EROFS: "ReadOnly",
        errno.EIO: "StorageIO",
        errno.ENOTDIR: "ConfigError",
    }.items():
        text = f"IO error: {tmp_path}: {os.strerror(number)}".encode()
        assert type(translate(plyvel.IOError(text))).__name__ == name
        assert type(translate(OSError(number, "x"))).__name__ == name
    locked = translate(plyvel.IOError(b"IO error: lock /x/LOCK: Resource temporarily unavailable"))
    assert type(locked).__name__ == "StoreLocked"
    assert OSError in DRIVER_ERRORS


def test_a_mark_read_while_another_is_written_is_not_kept(folder: Path) -> None:
    read, go_on = threading.Event(), threading.Event()

    class Slow(Session):
        def get(self, key: bytes) -> bytes | None:
            value = super().get(key)
            read.set()
            assert go_on.wait(30)
            return value

    def put(value: bytes) -> None:
        changes = Changes()
        changes.put(b"mx", value)
        session.write(changes)

    with closing(plyvel.DB(str(folder), create_if_missing=True)) as database:
        session = Slow(database)
        put(b"old")
        reader = threading.Thread(target=session.get_mark, args=(b"mx",))
        reader.start()
        assert read.wait(30)
        put(b"new")
        go_on.set()
        reader.join()

        assert session.get_mark(b"mx") == b"new"
        put(b"newer")
        assert session.get_mark(b"mx") == b"newer"
