from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from fusion_store import TokenRepository
from fusion_store.backend import APITokenRecord
from fusion_store.testing import ManualClock
from fusion_store.testing.contract._making import exported, micros

MINUTE = timedelta(minutes=1)


def test_validation_answers_when_the_token_was_used_before(repository: TokenRepository, clock: ManualClock) -> None:
    issued = repository.add_api_token()
    uses = []

    for _ in range(3):
        validated = repository.validate_api_token(issued.token)
        assert validated is not None
        uses.append(validated.last_used)
        clock.advance(MINUTE)

    assert uses == [None, clock.now - 3 * MINUTE, clock.now - 2 * MINUTE]


def test_a_use_is_seen_everywhere_at_once(repository: TokenRepository, clock: ManualClock) -> None:
    issued = repository.add_api_token()
    repository.validate_api_token(issued.token)

    known = repository.get_api_token(issued.hash)
    assert known is not None
    assert known.last_used == clock.now
    assert repository.list_api_tokens() == [known]
    assert list(repository.iter_api_tokens()) == [known]
    assert repository.find_api_tokens(issued.hash) == [known]
    assert repository.resolve_api_token(issued.hash) == known


def test_what_does_not_validate_is_not_used(repository: TokenRepository, clock: ManualClock) -> None:
    issued = repository.add_api_token(expires_at=clock.now + MINUTE)
    clock.advance(MINUTE)

    assert repository.validate_api_token(issued.token) is None

    known = repository.get_api_token(issued.hash)
    assert known is not None
    assert known.last_used is None


def test_a_use_outlives_flush_and_reopening(
    repository: TokenRepository, clock: ManualClock, reopen: Callable[[], TokenRepository]
) -> None:
    issued = repository.add_api_token()
    repository.validate_api_token(issued.token)
    repository.flush()
    used = clock.now
    clock.advance(MINUTE)

    again = reopen()

    known = again.get_api_token(issued.hash)
    assert known is not None
    assert known.last_used == used
    validated = again.validate_api_token(issued.token)
    assert validated is not None
    assert validated.last_used == used


def test_closing_writes_what_was_not_flushed(
    repository: TokenRepository, clock: ManualClock, reopen: Callable[[], TokenRepository]
) -> None:
    issued = [repository.add_api_token() for _ in range(3)]
    for token in issued:
        repository.validate_api_token(token.token)
        clock.advance(MINUTE)

    again = reopen()

    known = [again.get_api_token(token.hash) for token in issued]
    assert [k.last_used for k in known if k] == [clock.now - 3 * MINUTE, clock.now - 2 * MINUTE, clock.now - MINUTE]


def test_a_flush_is_seen_by_another_handle(handles: list[TokenRepository], clock: ManualClock) -> None:
    issued = handles[0].add_api_token()
    handles[0].validate_api_token(issued.token)
    handles[0].flush()

    known = handles[-1].get_api_token(issued.hash)

    assert known is not None
    assert known.last_used == clock.now


def test_last_used_only_moves_forward(
    repository: TokenRepository, clock: ManualClock, reopen: Callable[[], TokenRepository]
) -> None:
    issued = repository.add_api_token()
    latest = clock.now
    repository.validate_api_token(issued.token)
    clock.advance(-MINUTE)

    validated = repository.validate_api_token(issued.token)
    assert validated is not None
    assert validated.last_used == latest
    repository.flush()
    repository.validate_api_token(issued.token)
    repository.flush()
    repository.validate_api_token(issued.token)
    known = repository.get_api_token(issued.hash)
    assert known is not None
    assert known.last_used == latest

    known = reopen().get_api_token(issued.hash)
    assert known is not None
    assert known.last_used == latest


def test_an_older_handle_does_not_set_last_used_back(handles: list[TokenRepository], clock: ManualClock) -> None:
    issued = handles[0].add_api_token()
    handles[0].validate_api_token(issued.token)
    latest = clock.advance(MINUTE)
    handles[-1].validate_api_token(issued.token)
    handles[-1].flush()
    handles[0].flush()

    for handle in handles:
        known = handle.get_api_token(issued.hash)
        assert known is not None
        assert known.last_used == latest


def test_a_flush_does_not_bring_a_deleted_token_back(
    repository: TokenRepository, reopen: Callable[[], TokenRepository]
) -> None:
    kept = repository.add_api_token()
    deleted = repository.add_api_token(tenant_hash=kept.hash)
    alone = repository.add_api_token()
    for issued in (kept, deleted, alone):
        repository.validate_api_token(issued.token)
    repository.delete_api_token(deleted.hash)
    repository.delete_tenant(alone.hash)

    repository.flush()

    assert [token.hash for token in repository.list_api_tokens()] == [kept.hash]
    again = reopen()
    assert [token.hash for token in again.list_api_tokens()] == [kept.hash]
    assert again.get_tenant(alone.hash) is None
    assert again.check().ok


def test_a_flush_does_not_undo_a_rotation(repository: TokenRepository, clock: ManualClock) -> None:
    old = repository.add_api_token()
    repository.validate_api_token(old.token)
    new = repository.rotate_api_token(old.hash, grace=MINUTE)

    repository.flush()

    known = repository.get_api_token(old.hash)
    assert known is not None
    assert known.expires_at == clock.now + MINUTE
    assert known.last_used == clock.now
    assert {token.hash for token in repository.list_api_tokens()} == {old.hash, new.hash}


def test_an_export_holds_the_newest_use(repository: TokenRepository, clock: ManualClock) -> None:
    issued = repository.add_api_token()
    repository.validate_api_token(issued.token)

    uses = [record.last_used for record in exported(repository) if isinstance(record, APITokenRecord)]

    assert uses == [micros(clock.now)]


def test_a_flush_with_nothing_to_write_does_nothing(repository: TokenRepository) -> None:
    before = exported(repository)

    repository.flush()
    repository.flush()

    assert exported(repository) == before
