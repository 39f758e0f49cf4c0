"""What is answered from memory, and what isn't: told by the reads that reach the storage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fusion_store import (
    ConfigError,
    IssuedToken,
    OutcomeUnknown,
    StoreClosed,
    TokenRepository,
    Unavailable,
    get_repository,
)
from fusion_store.backend import APITokenRecord, AuditEntry
from fusion_store.layers import CachedTokenRepository, CacheOptions, EncryptedTokenRepository, Key
from fusion_store.testing import ManualClock
from fusion_store_memory import MemoryTokenRepository

SECOND = timedelta(seconds=1)


class Counting(MemoryTokenRepository):
    """Counts the tokens that are read and the looks at the signal, and fails where it is told to."""

    reads = 0
    looks = 0
    fails = False
    before_answer: Callable[[], object] | None = None

    def read_api_token(self, hash: str) -> APITokenRecord | None:
        if self.fails:
            raise Unavailable
        self.reads += 1
        record = super().read_api_token(hash)
        if self.before_answer is not None:
            self.before_answer()
        return record

    def remove_api_token(self, hash: str, *, audit: AuditEntry | None = None) -> bool:
        removed = super().remove_api_token(hash, audit=audit)
        if self.fails:
            raise OutcomeUnknown
        return removed

    def change_signal(self) -> int:
        self.looks += 1
        if self.fails:
            raise Unavailable
        return super().change_signal()


class Monotonic:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def storage(clock: ManualClock) -> Counting:
    return Counting(clock=clock)


@pytest.fixture
def vault(storage: Counting, monotonic: Monotonic) -> Iterator[CachedTokenRepository]:
    # An hour between two looks at the signal: nothing happens by itself.
    options = CacheOptions(size=3, bound=timedelta(hours=4), monotonic=monotonic)
    with CachedTokenRepository(storage, options) as repository:
        yield repository


def validate(vault: TokenRepository, *tokens: IssuedToken) -> None:
    for issued in tokens:
        known = vault.validate_api_token(issued.token)
        assert known is not None
        assert known.hash == issued.hash


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def is_refused(vault: TokenRepository, issued: IssuedToken) -> bool:
    return vault.validate_api_token(issued.token) is None


def look_again(storage: Counting) -> None:
    """Wait until the signal was looked at some more times."""
    looks = storage.looks + 4
    wait_for(lambda: storage.looks >= looks)


def test_a_live_token_is_read_once(vault: CachedTokenRepository, storage: Counting) -> None:
    issued = vault.add_api_token("mine", scopes=["a"])

    validate(vault, *[issued] * 5)

    assert storage.reads == vault.misses == 1


def test_what_is_not_live_is_asked_for_each_time(
    vault: CachedTokenRepository, storage: Counting, clock: ManualClock
) -> None:
    issued = vault.add_api_token(expires_at=clock.now + SECOND)
    clock.advance(SECOND)

    for _ in range(3):
        assert vault.validate_api_token(issued.token) is None
        assert vault.validate_api_token("unknown") is None

    assert storage.reads == vault.misses == 6
    vault.add_api_token()


@pytest.mark.parametrize("odd", [None, b"token", 5, "", "\ud800", "x" * 5000, ["token"]])
def test_what_is_no_token_is_none(vault: CachedTokenRepository, odd: Any) -> None:
    assert vault.validate_api_token(odd) is None
    assert vault.recall_api_token(odd) is None


def test_a_cached_token_expires_by_the_repositorys_clock(vault: CachedTokenRepository, clock: ManualClock) -> None:
    issued = vault.add_api_token(expires_at=clock.now + SECOND)
    validate(vault, issued, issued)

    clock.advance(SECOND - timedelta(microseconds=1))
    validate(vault, issued)
    clock.advance(timedelta(microseconds=1))
    assert vault.validate_api_token(issued.token) is None
    clock.advance(-SECOND)
    validate(vault, issued)


def test_the_token_that_was_asked_for_least_recently_makes_room(
    vault: CachedTokenRepository, storage: Counting, monotonic: Monotonic
) -> None:
    a, b, c, d = (vault.add_api_token() for _ in range(4))
    for issued in (a, b, c, c, b, a, d):
        monotonic.now += 1
        validate(vault, issued)
    assert storage.reads == 4

    assert vault.recall_api_token(c.token) is None
    assert all(vault.recall_api_token(issued.token) for issued in (a, b, d))


def test_any_number_of_tokens_takes_bounded_room(storage: Counting) -> None:
    with CachedTokenRepository(storage, CacheOptions(size=10)) as vault:
        issued = [vault.add_api_token() for _ in range(100)]
        for _ in range(3):
            validate(vault, *issued)
        remembered = [token for token in issued if vault.recall_api_token(token.token)]

    assert remembered == issued[-10:]


REVOCATIONS: dict[str, Callable[[TokenRepository, IssuedToken], object]] = {
    "token": lambda vault, issued: vault.delete_api_token(issued.hash),
    "tenant": lambda vault, issued: vault.delete_tenant(issued.metadata.tenant_hash),
    "rotation": lambda vault, issued: vault.rotate_api_token(issued.hash),
}


@pytest.mark.parametrize("revocation", REVOCATIONS)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same handle", "other handle"])
def test_a_token_revoked_in_this_process_is_refused_at_once(revocation: str, *, elsewhere: bool) -> None:
    url = f"memory://{uuid4().hex}"
    options = CacheOptions(bound=timedelta(hours=4))
    with get_repository(url, cache=options) as vault, get_repository(url, cache=options) as other:
        issued = vault.add_api_token()
        validate(vault, issued, issued)
        validate(other, issued, issued)

        REVOCATIONS[revocation](other if elsewhere else vault, issued)

        assert vault.validate_api_token(issued.token) is None


def test_a_rotated_token_lives_through_its_grace_and_no_longer(
    vault: CachedTokenRepository, clock: ManualClock
) -> None:
    issued = vault.add_api_token()
    validate(vault, issued)

    new = vault.rotate_api_token(issued.hash, grace=SECOND)

    validate(vault, issued, issued, new)
    clock.advance(SECOND)
    assert vault.validate_api_token(issued.token) is None
    validate(vault, new)


def test_a_purged_token_is_forgotten(vault: CachedTokenRepository, clock: ManualClock) -> None:
    kept = vault.add_api_token()
    issued = vault.add_api_token(tenant_hash=kept.hash, expires_at=clock.now + SECOND)
    validate(vault, issued)
    clock.advance(SECOND)

    assert vault.purge_expired()["api_tokens"] == 1

    clock.advance(-SECOND)
    assert vault.validate_api_token(issued.token) is None


def test_a_revocation_of_unknown_outcome_counts_as_one(vault: CachedTokenRepository, storage: Counting) -> None:
    issued = vault.add_api_token()
    validate(vault, issued)
    storage.fails = True

    with pytest.raises(OutcomeUnknown):
        vault.delete_api_token(issued.hash)

    storage.fails = False
    assert vault.validate_api_token(issued.token) is None


def test_what_was_read_before_a_revocation_is_not_remembered(vault: CachedTokenRepository, storage: Counting) -> None:
    validate(vault, vault.add_api_token())
    issued = vault.add_api_token()

    def revoke() -> None:
        storage.before_answer = None
        vault.delete_api_token(issued.hash)

    storage.before_answer = revoke

    validate(vault, issued)

    assert vault.validate_api_token(issued.token) is None


def test_a_revocation_elsewhere_is_seen_by_looking_at_the_signal(storage: Counting) -> None:
    # The bound never passes: only the look that is taken four times in it can tell.
    options = CacheOptions(bound=timedelta(milliseconds=40), monotonic=lambda: 1000.0)
    with CachedTokenRepository(storage, options) as vault:
        for _ in range(2):
            issued = vault.add_api_token()
            validate(vault, issued, issued)
            storage.remove_api_token(issued.hash)
            wait_for(partial(is_refused, vault, issued))
        validate(vault, other := vault.add_api_token())
        look_again(storage)
        reads = storage.reads
        validate(vault, other)
        assert storage.reads == reads


def test_a_signal_that_cannot_be_read_is_one_warning_until_it_can(
    storage: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    with CachedTokenRepository(storage, CacheOptions(bound=timedelta(milliseconds=40))) as vault:
        validate(vault, vault.add_api_token())
        for times in (1, 2):
            storage.fails = True
            look_again(storage)
            storage.fails = False
            look_again(storage)
            said = [(record.levelname, record.getMessage()) for record in caplog.records]
            assert said == [("WARNING", "the change signal can't be read, tokens aren't cached: Unavailable")] * times


def test_past_the_bound_nothing_is_answered_without_a_look_at_the_store(
    vault: CachedTokenRepository, storage: Counting, monotonic: Monotonic
) -> None:
    issued = vault.add_api_token()
    validate(vault, issued)
    storage.fails = True
    monotonic.now += 4 * 3600 - 1
    validate(vault, issued)
    assert storage.reads == 1

    monotonic.now += 1

    with pytest.raises(Unavailable):
        vault.validate_api_token(issued.token)
    assert vault.recall_api_token(issued.token) is None


def test_each_answer_from_memory_is_a_use(vault: CachedTokenRepository, storage: Counting, clock: ManualClock) -> None:
    issued = vault.add_api_token()
    uses = []
    for _ in range(4):
        known = vault.validate_api_token(issued.token)
        assert known is not None
        uses.append(known.last_used)
        clock.advance(SECOND)
    vault.flush()
    clock.advance(-10 * SECOND)
    validate(vault, issued)
    vault.flush()

    last = clock.now + 9 * SECOND
    assert uses == [None, last - 3 * SECOND, last - 2 * SECOND, last - SECOND]
    for repository in (vault, storage):
        known = repository.get_api_token(issued.hash)
        assert known is not None
        assert known.last_used == last
    assert storage.reads == 3


def test_the_last_use_in_an_answer_does_not_go_back_with_the_clock(
    vault: CachedTokenRepository, storage: Counting, clock: ManualClock
) -> None:
    issued = vault.add_api_token()
    validate(storage, issued)
    storage.flush()
    used = clock.now

    clock.advance(-SECOND)
    answers = [vault.validate_api_token(issued.token) for _ in range(3)]

    assert [known and known.last_used for known in answers] == [used] * 3


def test_a_closed_repository_answers_nothing_from_memory(vault: CachedTokenRepository, storage: Counting) -> None:
    issued = vault.add_api_token()
    validate(vault, issued, issued)

    storage.close()

    for ask in (vault.validate_api_token, vault.recall_api_token):
        with pytest.raises(StoreClosed):
            ask(issued.token)


def test_closing_what_is_below_writes_the_uses_that_memory_counted(clock: ManualClock) -> None:
    url = f"memory://{uuid4().hex}"
    with get_repository(url, cache=True, clock=clock) as vault:
        assert isinstance(vault, CachedTokenRepository)
        issued = vault.add_api_token()
        validate(vault, issued)
        vault.flush()
        clock.advance(SECOND)
        validate(vault, issued)
        vault.inner.close()

    with get_repository(url) as again:
        known = again.get_api_token(issued.hash)
        assert known is not None
        assert known.last_used == clock.now


def test_a_sealed_vault_is_cached_above_its_seals() -> None:
    with get_repository("memory://", cache=True, encryption_keys=[Key.generate().reveal()]) as vault:
        assert isinstance(vault, CachedTokenRepository)
        assert isinstance(vault.inner, EncryptedTokenRepository)
        assert vault.health().encryption == "encrypted"


def test_no_thread_is_started_before_the_first_validation_nor_left_behind() -> None:
    def watchers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "fusion-store-cache"]

    before = watchers()
    with get_repository("memory://", cache=True) as vault:
        issued = vault.add_api_token()
        assert watchers() == before
        validate(vault, issued)
        assert len(watchers()) == len(before) + 1
        assert all(thread.daemon for thread in watchers())
    assert watchers() == before


def test_the_watch_ends_when_what_is_below_is_closed(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    vault = get_repository(f"sqlite:///{tmp_path}/vault.db", cache=True)
    assert isinstance(vault, CachedTokenRepository)
    validate(vault, vault.add_api_token())
    (watcher,) = (thread for thread in set(threading.enumerate()) - before if thread.name == "fusion-store-cache")

    vault.inner.close()

    watcher.join(60)
    assert not watcher.is_alive()
    vault.close()


@pytest.mark.parametrize("cache", [1, None, "yes", {"size": 5}])
def test_a_cache_that_is_none_is_refused(cache: Any) -> None:
    with pytest.raises(ConfigError, match="cache"):
        get_repository("memory://", cache=cache)


@pytest.mark.parametrize(
    ("name", "value"), [("size", 0), ("size", 1.5), ("size", True), ("bound", timedelta(0)), ("bound", 1.0)]
)
def test_options_that_make_no_sense_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        CacheOptions(**{name: value})
    assert CacheOptions(size=1, bound=timedelta(milliseconds=10)).size == 1
