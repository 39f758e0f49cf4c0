from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from fusion_store import IssuedToken, TokenNotFound, TokenRepository
from fusion_store.testing import ManualClock
from fusion_store.testing.contract._making import UNKNOWN, at_once, exported, oauth, outcomes, refused_field

HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)


def test_rotation_without_grace_replaces_the_token_in_one_step(repository: TokenRepository, clock: ManualClock) -> None:
    old = repository.add_api_token("my laptop", scopes=["read", "write"])
    repository.store_oauth_token(old.hash, "github", oauth())
    repository.validate_api_token(old.token)
    repository.flush()
    clock.advance(HOUR)

    new = repository.rotate_api_token(old.hash)

    assert new.token != old.token
    assert new.metadata.tenant_hash == old.metadata.tenant_hash
    assert new.metadata.description == "my laptop"
    assert new.metadata.scopes == ("read", "write")
    assert new.metadata.created_at == clock.now
    assert new.metadata.last_used is None
    assert new.metadata.expires_at is None
    assert repository.validate_api_token(new.token) == new.metadata
    assert repository.validate_api_token(old.token) is None
    assert repository.get_api_token(old.hash) is None
    assert repository.find_api_tokens(old.hash) == []
    assert repository.find_api_tokens(old.metadata.prefix) == []
    assert [token.hash for token in repository.list_api_tokens()] == [new.hash]


def test_the_tenant_keeps_its_identity_and_secrets_when_its_only_token_is_rotated(
    repository: TokenRepository,
) -> None:
    old = repository.add_api_token()
    stored = repository.store_oauth_token(old.hash, "github", oauth())

    new = repository.rotate_api_token(old.hash)

    assert new.metadata.tenant_hash == old.hash
    assert repository.get_oauth_token(old.hash, "github") == stored
    tenant = repository.get_tenant(old.hash)
    assert tenant is not None
    assert (tenant.api_tokens, tenant.oauth_tokens) == (1, 1)
    assert repository.resolve_tenant(old.hash[:16]) == old.hash


def test_the_old_token_lives_on_for_the_grace(repository: TokenRepository, clock: ManualClock) -> None:
    old = repository.add_api_token()

    new = repository.rotate_api_token(old.hash, grace=HOUR)

    assert repository.validate_api_token(new.token) is not None
    clock.advance(HOUR - MICROSECOND)
    assert repository.validate_api_token(old.token) is not None
    clock.advance(MICROSECOND)
    assert repository.validate_api_token(old.token) is None
    assert repository.validate_api_token(new.token) is not None
    ended = repository.get_api_token(old.hash)
    assert ended is not None
    assert ended.expires_at == clock.now


def test_a_grace_never_prolongs_a_life(repository: TokenRepository, clock: ManualClock) -> None:
    old = repository.add_api_token(expires_at=clock.now + HOUR)

    repository.rotate_api_token(old.hash, grace=2 * HOUR)

    kept = repository.get_api_token(old.hash)
    assert kept is not None
    assert kept.expires_at == old.metadata.expires_at
    clock.advance(HOUR)
    assert repository.validate_api_token(old.token) is None


def test_a_lifetime_begins_anew(repository: TokenRepository, clock: ManualClock) -> None:
    old = repository.add_api_token(expires_at=clock.now + 24 * HOUR)
    clock.advance(23 * HOUR)

    new = repository.rotate_api_token(old.hash)

    assert new.metadata.expires_at == clock.now + 24 * HOUR
    assert repository.get_api_token(new.hash) == new.metadata


def test_a_lifetime_begun_anew_ends_with_the_calendar(repository: TokenRepository, clock: ManualClock) -> None:
    end = datetime.max.replace(tzinfo=UTC)
    old = repository.add_api_token(expires_at=end)
    clock.advance(HOUR)

    assert repository.rotate_api_token(old.hash).metadata.expires_at == end


def test_a_dead_or_unknown_token_is_not_rotated(repository: TokenRepository, clock: ManualClock) -> None:
    expired = repository.add_api_token(expires_at=clock.now + HOUR)
    deleted = repository.add_api_token()
    repository.delete_api_token(deleted.hash)
    clock.advance(HOUR)
    before = exported(repository)

    for hash in (expired.hash, deleted.hash, UNKNOWN, "", "no hash"):
        with pytest.raises(TokenNotFound):
            repository.rotate_api_token(hash)
        with pytest.raises(TokenNotFound):
            repository.rotate_api_token(hash, grace=HOUR)

    assert exported(repository) == before


def test_a_token_in_its_grace_can_be_rotated_again(repository: TokenRepository, clock: ManualClock) -> None:
    old = repository.add_api_token()
    first = repository.rotate_api_token(old.hash, grace=2 * HOUR)

    second = repository.rotate_api_token(old.hash, grace=HOUR)

    assert len({old.hash, first.hash, second.hash}) == 3
    kept = repository.get_api_token(old.hash)
    assert kept is not None
    assert kept.expires_at == clock.now + HOUR


def test_a_grace_is_a_duration_from_zero(repository: TokenRepository) -> None:
    issued = repository.add_api_token()
    before = exported(repository)
    odd: list[Any] = [-MICROSECOND, timedelta.max, 3600, None, "1h"]

    for grace in odd:
        assert refused_field(partial(repository.rotate_api_token, issued.hash, grace=grace)) == "grace", grace

    assert exported(repository) == before


def test_of_concurrent_rotations_without_grace_exactly_one_wins(handles: list[TokenRepository]) -> None:
    old = handles[0].add_api_token()

    answers = outcomes([partial(handles[n % len(handles)].rotate_api_token, old.hash) for n in range(16)])

    won = [answer for answer in answers if isinstance(answer, IssuedToken)]
    lost = [answer for answer in answers if isinstance(answer, TokenNotFound)]
    assert (len(won), len(lost)) == (1, 15)
    assert [token.hash for token in handles[0].list_api_tokens()] == [won[0].hash]


def test_concurrent_rotations_with_a_grace_all_answer_a_live_token(handles: list[TokenRepository]) -> None:
    old = handles[0].add_api_token()

    issued = at_once([partial(handles[n % len(handles)].rotate_api_token, old.hash, grace=HOUR) for n in range(8)])

    assert all(handles[0].validate_api_token(new.token) for new in issued)
    assert len(handles[0].list_api_tokens()) == 9


def test_a_rotation_and_a_deletion_at_once_leave_one_outcome(handles: list[TokenRepository]) -> None:
    repository, other = handles[0], handles[-1]
    for _ in range(10):
        old = repository.add_api_token()
        rotated, deleted = outcomes(
            [partial(repository.rotate_api_token, old.hash), partial(other.delete_api_token, old.hash)]
        )
        tokens = repository.list_api_tokens(tenant_hash=old.hash)
        if deleted is True:
            assert isinstance(rotated, TokenNotFound)
            assert tokens == []
            assert repository.get_tenant(old.hash) is None
        else:
            assert isinstance(rotated, IssuedToken)
            assert [token.hash for token in tokens] == [rotated.hash]
