from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from fusion_store import (
    SYSTEM_TENANT,
    ClaimLost,
    InvalidInput,
    RefreshClaim,
    TenantNotFound,
    TokenRepository,
    VersionConflict,
)
from fusion_store.backend import (
    ENCRYPTION_MARK,
    CounterRecord,
    Kind,
    Place,
    RecordRepository,
    SecretState,
    mode_of,
)
from fusion_store.testing import ManualClock
from fusion_store.testing.contract._making import (
    at_once,
    exported,
    micros,
    new_tenant,
    oauth,
    outcomes,
    refused_field,
)

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)


def claimed(repository: TokenRepository, tenant: str, service: str = "github") -> RefreshClaim:
    claim = repository.claim_refresh(tenant, service, ttl=MINUTE)
    assert claim is not None
    return claim


def test_a_claim_says_what_was_claimed(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth())
    repository.store_oauth_token(tenant, "github", oauth())

    claim = repository.claim_refresh(tenant, "github", ttl=MINUTE, owner="worker 7")

    assert claim == RefreshClaim(tenant, "github", "worker 7", 2, 1, clock.now + MINUTE)


def test_a_claim_has_an_owner_by_default(repository: TokenRepository) -> None:
    claim = claimed(repository, new_tenant(repository))

    assert 1 <= len(claim.owner) <= 128


def test_the_store_keeps_who_holds_a_claim(storage: RecordRepository, clock: ManualClock) -> None:
    tenant = new_tenant(storage)
    counters: list[CounterRecord] = []

    def look(state: SecretState) -> None:
        counters.append(state.counter)

    storage.claim_refresh(tenant, "github", ttl=MINUTE, owner="worker 7")
    storage.change_secret(Place(tenant, Kind.OAUTH, "github"), look, storage.mode)

    deadline = micros(clock.now + MINUTE)
    assert [(c.claim_owner, c.claim_fence, c.claim_deadline) for c in counters] == [("worker 7", 1, deadline)]


def test_a_claim_that_comes_first_fixes_the_mode(storage: RecordRepository) -> None:
    storage.claim_refresh(SYSTEM_TENANT, "github", ttl=MINUTE)

    assert mode_of(storage.read_mark(ENCRYPTION_MARK)) is mode_of(storage.mode)


def test_only_one_claim_is_live(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    claimed(repository, tenant)

    assert repository.claim_refresh(tenant, "github", ttl=MINUTE) is None
    clock.advance(MINUTE - MICROSECOND)
    assert repository.claim_refresh(tenant, "github", ttl=MINUTE) is None
    clock.advance(MICROSECOND)
    claim = repository.claim_refresh(tenant, "github", ttl=MINUTE)
    assert claim is not None
    assert claim.fence == 2


def test_a_refused_claim_changes_nothing(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    claim = claimed(repository, tenant)

    assert repository.claim_refresh(tenant, "github", ttl=100 * MINUTE) is None
    repository.release_refresh(claim)

    assert claimed(repository, tenant).fence == 2


def test_claims_of_services_and_tenants_are_apart(repository: TokenRepository) -> None:
    tenant, other = new_tenant(repository), new_tenant(repository)
    claimed(repository, tenant)

    assert claimed(repository, tenant, "slack").fence == 1
    assert claimed(repository, other).fence == 1


def test_a_claim_can_be_taken_where_no_token_stands(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    claim = claimed(repository, tenant)
    assert claim.token_version == 0

    stored = repository.commit_refresh(claim, oauth("first"))

    assert (stored.version, stored.created_at) == (1, clock.now)
    assert repository.get_oauth_token(tenant, "github") == stored


def test_committing_stores_the_token_and_ends_the_claim(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    first = repository.store_oauth_token(tenant, "github", oauth("first"))
    claim = claimed(repository, tenant)
    clock.advance(MINUTE / 2)

    stored = repository.commit_refresh(claim, oauth("second", expires_at=clock.now + MINUTE))

    assert (stored.access_token, stored.version) == ("second", 2)
    assert (stored.created_at, stored.updated_at) == (first.created_at, clock.now)
    assert repository.get_oauth_token(tenant, "github") == stored
    with pytest.raises(ClaimLost):
        repository.commit_refresh(claim, oauth("third"))
    assert repository.get_oauth_token(tenant, "github") == stored
    assert claimed(repository, tenant).token_version == 2


def test_releasing_ends_the_claim_without_storing(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    stored = repository.store_oauth_token(tenant, "github", oauth())
    claim = claimed(repository, tenant)

    repository.release_refresh(claim)

    with pytest.raises(ClaimLost):
        repository.commit_refresh(claim, oauth("late"))
    assert repository.get_oauth_token(tenant, "github") == stored
    assert claimed(repository, tenant).fence == 2


def test_releasing_a_claim_that_has_ended_does_nothing(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    ended = claimed(repository, tenant)
    repository.release_refresh(ended)
    newer = claimed(repository, tenant)

    repository.release_refresh(ended)

    assert repository.claim_refresh(tenant, "github", ttl=MINUTE) is None
    assert repository.commit_refresh(newer, oauth()).version == 1
    repository.release_refresh(newer)
    repository.release_refresh(replace(newer, service="never claimed"))


def test_a_late_owner_may_commit_while_nobody_claimed_since(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    claim = claimed(repository, tenant)
    clock.advance(1000 * MINUTE)

    assert repository.commit_refresh(claim, oauth("rotated")).access_token == "rotated"


def test_a_late_owner_may_commit_after_its_claim_was_purged(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    claim = claimed(repository, tenant)
    clock.advance(1000 * MINUTE)
    assert repository.purge_expired()["claims"] == 1
    assert repository.purge_expired()["claims"] == 0

    assert repository.commit_refresh(claim, oauth("rotated")).access_token == "rotated"


def test_a_late_owner_loses_to_a_newer_claim(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    late = claimed(repository, tenant)
    clock.advance(MINUTE)
    newer = claimed(repository, tenant)

    with pytest.raises(ClaimLost):
        repository.commit_refresh(late, oauth("late"))
    repository.release_refresh(late)

    assert repository.get_oauth_token(tenant, "github") is None
    assert repository.commit_refresh(newer, oauth("newer")).access_token == "newer"


def test_a_late_owner_has_lost_even_when_the_newer_claim_was_released(
    repository: TokenRepository, clock: ManualClock
) -> None:
    tenant = new_tenant(repository)
    late = claimed(repository, tenant)
    clock.advance(MINUTE)
    repository.release_refresh(claimed(repository, tenant))

    with pytest.raises(ClaimLost):
        repository.commit_refresh(late, oauth("late"))


@pytest.mark.parametrize("end", ["stored", "deleted"])
def test_storing_or_deleting_the_token_ends_the_claim(repository: TokenRepository, end: str) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth("first"))
    claim = claimed(repository, tenant)

    if end == "stored":
        repository.store_oauth_token(tenant, "github", oauth("second"))
    else:
        repository.delete_oauth_token(tenant, "github")
    before = exported(repository)

    with pytest.raises(ClaimLost):
        repository.commit_refresh(claim, oauth("late"))
    assert exported(repository) == before
    assert claimed(repository, tenant).fence == 2


def test_a_conflict_does_not_end_the_claim(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth("first"))
    claim = claimed(repository, tenant)

    with pytest.raises(VersionConflict):
        repository.store_oauth_token(tenant, "github", oauth("stale"), expected_version=9)
    with pytest.raises(VersionConflict):
        repository.delete_oauth_token(tenant, "github", expected_version=9)

    assert repository.claim_refresh(tenant, "github", ttl=MINUTE) is None
    assert repository.commit_refresh(claim, oauth("second")).version == 2


def test_other_writes_do_not_end_the_claim(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "slack", oauth())
    claim = claimed(repository, tenant)

    repository.store_oauth_token(tenant, "slack", oauth())
    repository.delete_oauth_token(tenant, "slack")
    repository.rotate_api_token(tenant)
    repository.purge_expired()

    assert repository.commit_refresh(claim, oauth()).version == 1


def test_a_claim_without_a_token_outlives_a_deletion_that_deletes_nothing(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    claim = claimed(repository, tenant)

    assert repository.delete_oauth_token(tenant, "github") is False

    assert repository.commit_refresh(claim, oauth()).version == 1


def test_the_fence_outlives_tokens_claims_and_purges(
    repository: TokenRepository, clock: ManualClock, reopen: Callable[[], TokenRepository]
) -> None:
    tenant = new_tenant(repository)
    repository.commit_refresh(claimed(repository, tenant), oauth())
    repository.release_refresh(claimed(repository, tenant))
    repository.delete_oauth_token(tenant, "github")
    claimed(repository, tenant)
    clock.advance(MINUTE)
    repository.purge_expired()

    claim = reopen().claim_refresh(tenant, "github", ttl=MINUTE)

    assert claim is not None
    assert (claim.fence, claim.token_version) == (4, 1)


def test_a_claim_outlives_reopening(repository: TokenRepository, reopen: Callable[[], TokenRepository]) -> None:
    tenant = new_tenant(repository)
    claim = claimed(repository, tenant)

    again = reopen()

    assert again.claim_refresh(tenant, "github", ttl=MINUTE) is None
    assert again.commit_refresh(claim, oauth()).version == 1


def test_a_claim_of_a_deleted_tenant_can_not_be_committed(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    claim = claimed(repository, tenant)
    repository.delete_tenant(tenant)

    with pytest.raises(TenantNotFound):
        repository.commit_refresh(claim, oauth())
    repository.release_refresh(claim)

    assert repository.get_tenant(tenant) is None


def test_a_claim_that_was_never_taken_can_not_be_committed(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    before = exported(repository)

    with pytest.raises(ClaimLost):
        repository.commit_refresh(RefreshClaim(tenant, "github", "me", 0, 1, clock.now + MINUTE), oauth())

    assert exported(repository) == before


def test_a_refused_token_leaves_the_claim_as_it_was(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    claim = claimed(repository, tenant)

    with pytest.raises(InvalidInput):
        repository.commit_refresh(claim, oauth(""))

    assert repository.claim_refresh(tenant, "github", ttl=MINUTE) is None
    assert repository.commit_refresh(claim, oauth()).version == 1


def test_a_claim_lasts_for_a_positive_duration(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    odd: list[Any] = [timedelta(0), -MICROSECOND, timedelta.max, 60, None]

    for ttl in odd:
        assert refused_field(partial(repository.claim_refresh, tenant, "github", ttl=ttl)) == "ttl", ttl

    assert claimed(repository, tenant).fence == 1


def test_only_a_claim_is_committed_or_released(repository: TokenRepository) -> None:
    claim = claimed(repository, new_tenant(repository))
    odd: list[Any] = [None, "claim", ("a" * 64, "github")]
    fences: list[Any] = [0, -1, True, 1.0, None, "1"]
    forged = [("claim", value) for value in odd]
    forged += [("claim.fence", replace(claim, fence=fence)) for fence in fences]

    for field, value in forged:
        assert refused_field(partial(repository.commit_refresh, value, oauth())) == field, value
        assert refused_field(partial(repository.release_refresh, value)) == field, value

    assert repository.commit_refresh(claim, oauth()).version == 1


def test_of_sixteen_threads_exactly_one_gets_the_claim(handles: list[TokenRepository], clock: ManualClock) -> None:
    tenant = new_tenant(handles[0])
    for fence in range(1, 4):
        claims = at_once(
            [partial(handles[n % len(handles)].claim_refresh, tenant, "github", ttl=MINUTE) for n in range(16)]
        )
        taken = [claim for claim in claims if claim]
        assert [claim.fence for claim in taken] == [fence]
        clock.advance(MINUTE)


def test_of_sixteen_commits_of_one_claim_exactly_one_works(handles: list[TokenRepository]) -> None:
    tenant = new_tenant(handles[0])
    claim = claimed(handles[0], tenant)

    answers = outcomes(
        [partial(handles[n % len(handles)].commit_refresh, claim, oauth(f"token {n}")) for n in range(16)]
    )

    assert sum(isinstance(answer, ClaimLost) for answer in answers) == 15
    stored = handles[0].get_oauth_token(tenant, "github")
    assert stored is not None
    assert stored.version == 1
    assert stored in answers


def test_a_newer_claim_and_a_late_commit_at_once_never_lose_a_token_in_silence(
    handles: list[TokenRepository], clock: ManualClock
) -> None:
    tenant = new_tenant(handles[0])
    for _ in range(10):
        late = claimed(handles[0], tenant)
        clock.advance(MINUTE)
        committed, newer = outcomes(
            [
                partial(handles[0].commit_refresh, late, oauth("late")),
                partial(handles[-1].claim_refresh, tenant, "github", ttl=MINUTE),
            ]
        )
        assert isinstance(newer, RefreshClaim)
        if not isinstance(committed, ClaimLost):
            assert newer.token_version == handles[0].list_oauth_tokens(tenant)["github"].version
        handles[0].commit_refresh(newer, oauth("newer"))
