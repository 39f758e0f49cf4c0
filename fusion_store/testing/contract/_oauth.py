from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_store import OAuthTokenData, TokenRepository, VersionConflict
from fusion_store.testing import ManualClock
from fusion_store.testing.contract._making import (
    api_key,
    at_once,
    exported,
    few_examples,
    new_tenant,
    oauth,
    refused_field,
)

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def test_a_token_comes_back_as_it_was_stored(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    token = OAuthTokenData(
        access_token="gho_1 é😀'\";--%",
        refresh_token="ghr_2\n",
        token_type="DPoP",
        expires_at=clock.now + HOUR,
        scope=("repo", "user:email"),
        metadata={"installation": "42", "é😀": "", "": "empty key"},
    )

    stored = repository.store_oauth_token(tenant, "github", token)

    assert repository.get_oauth_token(tenant, "github") == stored
    assert stored.access_token == token.access_token
    assert stored.refresh_token == token.refresh_token
    assert stored.token_type == "DPoP"
    assert stored.expires_at == clock.now + HOUR
    assert stored.scope == ("repo", "user:email")
    assert stored.metadata == {"installation": "42", "é😀": "", "": "empty key"}
    assert stored.created_at == stored.updated_at == clock.now
    assert stored.version == 1
    assert stored.has_refresh_token


def test_a_token_of_only_an_access_token_comes_back_so(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", OAuthTokenData("access"))

    token = repository.get_oauth_token(tenant, "github")

    assert token is not None
    assert (token.refresh_token, token.expires_at, token.scope, token.metadata) == (None, None, (), {})
    assert token.token_type == "Bearer"
    assert not token.has_refresh_token


def test_storing_anew_replaces_the_whole_token_and_keeps_when_it_was_created(
    repository: TokenRepository, clock: ManualClock
) -> None:
    tenant = new_tenant(repository)
    born = clock.now
    repository.store_oauth_token(
        tenant, "github", oauth("first", scope=("a",), metadata={"a": "b"}, expires_at=clock.now + HOUR)
    )
    clock.advance(HOUR)

    stored = repository.store_oauth_token(tenant, "github", OAuthTokenData("second"))

    assert stored == OAuthTokenData("second", created_at=born, updated_at=clock.now, version=2)
    assert repository.get_oauth_token(tenant, "github") == stored


def test_version_and_times_that_a_caller_passes_are_ignored(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    odd = datetime(1999, 1, 1, tzinfo=UTC)

    stored = repository.store_oauth_token(tenant, "github", oauth(created_at=odd, updated_at=odd, version=77))

    assert (stored.created_at, stored.updated_at, stored.version) == (clock.now, clock.now, 1)


def test_what_was_read_can_be_stored_again(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    first = repository.store_oauth_token(tenant, "github", oauth())

    second = repository.store_oauth_token(tenant, "github", first, expected_version=first.version)

    assert second.version == 2


def test_a_token_past_its_expiry_is_still_there(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth(expires_at=clock.now + HOUR))
    clock.advance(2 * HOUR)
    repository.purge_expired()

    token = repository.get_oauth_token(tenant, "github")

    assert token is not None
    assert token.is_expired(now=clock.now)
    assert repository.list_oauth_tokens(tenant) == {"github": token}
    assert repository.stats().oauth_tokens == {"github": 1}
    assert repository.delete_oauth_token(tenant, "github") is True


def test_an_absent_token_is_none(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(new_tenant(repository), "github", oauth())

    assert repository.get_oauth_token(tenant, "github") is None
    assert repository.delete_oauth_token(tenant, "github") is False
    assert repository.delete_oauth_token(tenant, "github", expected_version=3) is False
    assert repository.list_oauth_tokens(tenant) == {}


def test_a_deleted_oauth_token_is_gone_and_the_others_stay(repository: TokenRepository) -> None:
    tenant, other = new_tenant(repository), new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth())
    slack = repository.store_oauth_token(tenant, "slack", oauth())
    others = repository.store_oauth_token(other, "github", oauth())

    assert repository.delete_oauth_token(tenant, "github") is True
    assert repository.delete_oauth_token(tenant, "github") is False

    assert repository.get_oauth_token(tenant, "github") is None
    assert repository.list_oauth_tokens(tenant) == {"slack": slack}
    assert repository.get_oauth_token(other, "github") == others


def test_the_expected_version_must_stand(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth("first"), expected_version=0)
    before = exported(repository)

    for stale in (0, 2, 2**63 - 1):
        with pytest.raises(VersionConflict):
            repository.store_oauth_token(tenant, "github", oauth("stale"), expected_version=stale)
        with pytest.raises(VersionConflict):
            repository.delete_oauth_token(tenant, "github", expected_version=stale)
    assert exported(repository) == before

    assert repository.store_oauth_token(tenant, "github", oauth("second"), expected_version=1).version == 2
    assert repository.delete_oauth_token(tenant, "github", expected_version=2) is True


def test_where_none_stands_only_zero_is_expected(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    before = exported(repository)

    with pytest.raises(VersionConflict):
        repository.store_oauth_token(tenant, "github", oauth(), expected_version=1)
    assert exported(repository) == before

    repository.store_oauth_token(tenant, "github", oauth())
    repository.delete_oauth_token(tenant, "github")
    with pytest.raises(VersionConflict):
        repository.store_oauth_token(tenant, "github", oauth(), expected_version=1)
    assert repository.store_oauth_token(tenant, "github", oauth(), expected_version=0).version == 2


def test_the_version_outlives_the_token(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    for _ in range(3):
        repository.store_oauth_token(tenant, "github", oauth())
    repository.delete_oauth_token(tenant, "github")
    clock.advance(HOUR)
    repository.purge_expired()

    stored = repository.store_oauth_token(tenant, "github", oauth())

    assert stored.version == 4
    assert stored.created_at == clock.now


def test_versions_of_services_and_tenants_are_counted_apart(repository: TokenRepository) -> None:
    tenant, other = new_tenant(repository), new_tenant(repository)
    for _ in range(3):
        repository.store_oauth_token(tenant, "github", oauth())

    assert repository.store_oauth_token(tenant, "slack", oauth()).version == 1
    assert repository.store_oauth_token(other, "github", oauth()).version == 1


def test_tokens_are_listed_in_the_order_of_their_services_bytes(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    services = ["b", "a", "é", "B", "aa", "a b", "z", "\U0001f600", "\uff5e", "a/b", "10", "9", "_"]
    stored = {service: repository.store_oauth_token(tenant, service, oauth(service)) for service in services}

    listed = repository.list_oauth_tokens(tenant)

    assert list(listed) == sorted(services, key=str.encode)
    assert listed == stored


@few_examples
@given(
    access=st.text(min_size=1).filter(lambda text: "\0" not in text),
    refresh=st.none() | st.text(min_size=1).filter(lambda text: "\0" not in text),
    metadata=st.dictionaries(
        st.text().filter(lambda text: "\0" not in text), st.text().filter(lambda text: "\0" not in text), max_size=4
    ),
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_any_text_and_time_comes_back_as_it_went_in(
    repository: TokenRepository,
    access: str,
    refresh: str | None,
    metadata: dict[str, str],
    expires_at: datetime | None,
) -> None:
    tenant = new_tenant(repository)
    token = OAuthTokenData(access, refresh, metadata=metadata, expires_at=expires_at)

    stored = repository.store_oauth_token(tenant, "github", token)

    assert (stored.access_token, stored.refresh_token) == (access, refresh)
    assert stored.metadata == metadata
    assert stored.expires_at == expires_at
    assert repository.get_oauth_token(tenant, "github") == stored


def test_a_time_of_another_zone_comes_back_as_the_same_moment_in_utc(
    repository: TokenRepository, clock: ManualClock
) -> None:
    tenant = new_tenant(repository)
    local = (clock.now + HOUR).astimezone(timezone(timedelta(hours=14)))

    stored = repository.store_oauth_token(tenant, "github", oauth(expires_at=local))

    assert stored.expires_at == clock.now + HOUR
    for token in (stored, repository.get_oauth_token(tenant, "github")):
        assert token is not None
        assert token.expires_at is not None
        assert token.expires_at.utcoffset() == timedelta(0)


def test_what_is_answered_shares_nothing_with_what_was_passed(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    metadata = {"a": "b"}
    stored = repository.store_oauth_token(tenant, "github", oauth(metadata=metadata))
    metadata["a"] = "changed"

    assert stored.metadata == {"a": "b"}
    read = repository.get_oauth_token(tenant, "github")
    assert read is not None
    assert read.metadata == {"a": "b"}


def test_an_expected_version_is_a_whole_number(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth())
    before = exported(repository)
    odd: list[Any] = [-1, 1.0, "1", True, False, 2**63]

    for version in odd:
        for operation in (
            partial(repository.store_oauth_token, tenant, "github", oauth()),
            partial(repository.store_credentials, tenant, "github", api_key()),
            partial(repository.delete_oauth_token, tenant, "github"),
        ):
            assert refused_field(partial(operation, expected_version=version)) == "expected_version", version

    assert exported(repository) == before


def test_an_update_by_many_never_leaves_a_mixture(handles: list[TokenRepository]) -> None:
    tenant = new_tenant(handles[0])
    handles[0].store_oauth_token(tenant, "github", oauth("0", "0", metadata={"n": "0"}, scope=("0",)))

    def write(number: int) -> None:
        for step in range(4):
            n = f"{number}.{step}"
            token = oauth(n, n, metadata={"n": n}, scope=(n,))
            handles[number % len(handles)].store_oauth_token(tenant, "github", token)

    def read() -> None:
        for _ in range(20):
            token = handles[-1].get_oauth_token(tenant, "github")
            assert token is not None
            assert {token.access_token, token.refresh_token, token.metadata["n"], *token.scope} == {token.access_token}

    at_once([*(partial(write, number) for number in range(8)), *[read] * 4])

    last = handles[0].get_oauth_token(tenant, "github")
    assert last is not None
    assert last.version == 33
