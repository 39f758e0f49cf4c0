"""What the typed operations do when the storage under them fails or is slow."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from fusion_store import CorruptPlace, CorruptRecord, ForkedHandle, StorageFull, StorageIO, StoreClosed
from fusion_store.backend import AuditEntry
from fusion_store_memory import MemoryTokenRepository
from fusion_store_memory._state import State


class Failing(MemoryTokenRepository):
    """Fails where it is told to."""

    writes_fail = False
    marks_are_forgotten = False
    released = 0

    def write_mark(self, name: str, value: bytes | None, *, audit: AuditEntry | None = None) -> None:
        if self.writes_fail:
            raise StorageFull("no room left")
        if not self.marks_are_forgotten:
            super().write_mark(name, value, audit=audit)

    def touch_api_tokens(self, last_used: Mapping[str, int]) -> None:
        if self.writes_fail:
            raise StorageIO("can't write")
        super().touch_api_tokens(last_used)

    def close_storage(self) -> None:
        self.released += 1


class Slow(MemoryTokenRepository):
    """Waits in the middle of a check until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = Event(), Event()

    def find_damage(self) -> Iterator[CorruptPlace]:
        self.begun.set()
        assert self.go_on.wait(30)
        return iter(())


def is_closed(repository: MemoryTokenRepository) -> bool:
    try:
        repository.schema_version()
    except StoreClosed:
        return True
    return False


def test_an_ailing_store_is_an_answer_not_an_error() -> None:
    with Failing() as repository:
        repository.writes_fail = True
        health = repository.health()
        assert not health.ok
        assert health.error is not None
        assert "StorageFull" in health.error
        repository.writes_fail = False
        assert repository.health().ok


def test_looking_after_a_stores_health_leaves_nothing_in_it() -> None:
    state = State()
    with MemoryTokenRepository(state) as repository:
        assert repository.health().ok
        assert repository.health().ok

    assert state.marks == {}


def test_a_store_that_forgets_is_not_healthy() -> None:
    with Failing() as repository:
        repository.marks_are_forgotten = True

        assert not repository.health().ok


def test_closing_releases_the_storage_once_even_when_the_flush_fails(caplog: pytest.LogCaptureFixture) -> None:
    repository = Failing()
    issued = repository.add_api_token()
    repository.validate_api_token(issued.token)
    repository.writes_fail = True

    with caplog.at_level(logging.WARNING, "fusion_store"):
        repository.close()
    repository.close()

    assert repository.released == 1
    assert "StorageIO" in caplog.text
    assert issued.hash not in caplog.text


def test_a_failed_flush_is_raised_and_the_use_is_kept() -> None:
    state = State()
    repository = Failing(state)
    issued = repository.add_api_token()
    repository.validate_api_token(issued.token)
    repository.writes_fail = True
    with pytest.raises(StorageIO):
        repository.flush()
    repository.writes_fail = False

    repository.close()

    assert state.tokens[issued.hash].last_used is not None


def test_closing_waits_for_a_check_under_way() -> None:
    repository = Slow()
    repository.add_api_token()

    with ThreadPoolExecutor(2) as threads:
        checking = threads.submit(repository.check)
        assert repository.begun.wait(30)
        closing = threads.submit(repository.close)
        while not is_closed(repository):
            pass
        assert not closing.done()
        repository.go_on.set()
        assert checking.result(30).ok
        closing.result(30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_backend_that_says_nothing_else_refuses_in_a_forked_child() -> None:
    repository = MemoryTokenRepository()
    issued = repository.add_api_token()
    repository.validate_api_token(issued.token)

    # Forking with a thread is what is tested.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        refused = 0
        for operation in (repository.stats, repository.flush, lambda: next(repository.iter_api_tokens())):
            try:
                operation()
            except ForkedHandle:
                refused += 1
        repository.close()
        os._exit(0 if refused == 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    assert repository.validate_api_token(issued.token) is not None
    repository.close()


def test_a_corrupt_record_is_reported_by_its_place() -> None:
    class Corrupt(MemoryTokenRepository):
        def find_damage(self) -> Iterator[CorruptPlace]:
            yield CorruptPlace("index", "", "", "names nothing")

        def check_payload(self, record: object) -> None:
            raise CorruptRecord("oauth", tenant_hash="a" * 64, service="github", reason="altered")

    with Corrupt() as repository:
        report = repository.check()

    assert report.records == 1
    assert report.corrupt == (
        CorruptPlace("index", "", "", "names nothing"),
        CorruptPlace("oauth", "a" * 64, "github", "altered"),
    )
