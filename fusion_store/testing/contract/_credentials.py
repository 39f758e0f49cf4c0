from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_store import SYSTEM_TENANT, CredentialType, ServiceCredentials, TokenRepository, VersionConflict
from fusion_store.backend import CounterRecord, Kind, SecretRecord
from fusion_store.testing import ManualClock
from fusion_store.testing.contract._making import api_key, exported, few_examples, new_tenant, oauth, refused_field

HOUR = timedelta(hours=1)
KEY = CredentialType.API_KEY

json_text = st.text().filter(lambda text: "\0" not in text)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | json_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(json_text, inner, max_size=4),
    max_leaves=12,
)


def kinds(value: Any) -> Any:
    """The types in a JSON value: 1, 1.0 and True are equal, but not the same."""
    if isinstance(value, dict):
        return {key: kinds(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [kinds(entry) for entry in value]
    return type(value), repr(value)


def test_a_credential_comes_back_as_it_was_stored(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    data = {
        "username": "zoë",
        "password": "p'\";--%😀\n",
        "nested": {"list": [1, 1.0, True, False, None, "", [], {}, -0.0, 1e300, 5e-324, 2**63 - 1, -(2**63)]},
        "é😀 ": "unicode key",
        "": "empty key",
    }
    expires_at = clock.now + HOUR

    stored = repository.store_credentials(
        tenant, "github", ServiceCredentials(CredentialType.BASIC_AUTH, data, expires_at)
    )

    assert stored.type is CredentialType.BASIC_AUTH
    assert stored.data == data
    assert kinds(stored.data) == kinds(data)
    assert list(stored.data) == list(data)
    assert stored.expires_at == expires_at
    assert stored.created_at == stored.updated_at == clock.now
    assert stored.version == 1
    read = repository.get_credentials(tenant, "github", CredentialType.BASIC_AUTH)
    assert read == stored
    assert read is not None
    assert kinds(read.data) == kinds(data)


@few_examples
@given(data=st.dictionaries(json_text, json_values, max_size=5))
def test_any_json_object_comes_back_as_it_went_in(repository: TokenRepository, data: dict[str, Any]) -> None:
    tenant = new_tenant(repository)

    stored = repository.store_credentials(tenant, "github", ServiceCredentials(CredentialType.CUSTOM, data))

    read = repository.get_credentials(tenant, "github", CredentialType.CUSTOM)
    assert read == stored
    assert read is not None
    assert kinds(read.data) == kinds(stored.data) == kinds(data)


def test_each_read_answers_a_fresh_copy(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    data: dict[str, Any] = {"list": [1, {"a": "b"}]}
    stored = repository.store_credentials(tenant, "github", ServiceCredentials(KEY, data))
    data["list"].append("changed by the caller")
    stored.data["list"].append("changed in the answer")

    reads: list[Callable[[], ServiceCredentials | None]] = [
        lambda: repository.get_credentials(tenant, "github", KEY),
        lambda: repository.list_credentials(tenant)["github", KEY],
    ]
    for read in reads:
        first = read()
        assert first is not None
        assert first.data == {"list": [1, {"a": "b"}]}
        first.data["list"][1]["a"] = "changed by a reader"
        first.data.clear()
    again = repository.get_credentials(tenant, "github", KEY)
    assert again is not None
    assert again.data == {"list": [1, {"a": "b"}]}


def test_credentials_of_types_services_and_tenants_are_apart(repository: TokenRepository) -> None:
    tenant, other = new_tenant(repository), new_tenant(repository)
    expected = {}
    for service in ("github", "slack"):
        for type in CredentialType:
            stored = repository.store_credentials(tenant, service, api_key(f"{service} {type}", type))
            assert stored.version == 1
            expected[service, type] = stored
    repository.store_credentials(other, "github", api_key("other"))
    repository.store_oauth_token(tenant, "github", oauth())

    assert repository.list_credentials(tenant) == expected
    assert repository.delete_credentials(tenant, "github", CredentialType.BEARER) is True
    del expected["github", CredentialType.BEARER]
    assert repository.list_credentials(tenant) == expected
    for (service, type), stored in expected.items():
        assert repository.get_credentials(tenant, service, type) == stored
    kept = repository.get_credentials(other, "github", KEY)
    assert kept is not None
    assert kept.data == {"key": "other"}
    assert repository.get_oauth_token(tenant, "github") is not None


def test_credentials_are_listed_by_service_bytes_and_type(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    services = ["b", "a", "é", "B", "aa", "\U0001f600", "\uff5e"]
    for service in services:
        for type in sorted(CredentialType, reverse=True):
            repository.store_credentials(tenant, service, api_key(type=type))

    listed = list(repository.list_credentials(tenant))

    assert listed == sorted(listed, key=lambda place: (place[0].encode(), place[1]))
    assert len(listed) == len(services) * len(CredentialType)
    bearer = list(repository.list_credentials(tenant, credential_type=CredentialType.BEARER))
    assert bearer == [(service, CredentialType.BEARER) for service in sorted(services, key=str.encode)]


def test_a_credential_type_may_be_given_as_its_string(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    as_string: Any = "api_key"

    stored = repository.store_credentials(tenant, "github", ServiceCredentials(as_string, {"key": "x"}))

    assert stored.type is KEY
    assert repository.get_credentials(tenant, "github", as_string) == stored
    assert repository.list_credentials(tenant, credential_type=as_string) == {("github", KEY): stored}
    assert [type for _, type in repository.list_credentials(tenant)] == [KEY]
    assert repository.delete_credentials(tenant, "github", as_string) is True


def test_storing_anew_replaces_the_credential(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    born = clock.now
    repository.store_credentials(tenant, "github", api_key("first", expires_at=clock.now + 9 * HOUR))
    clock.advance(HOUR)

    stored = repository.store_credentials(tenant, "github", ServiceCredentials(KEY, {"other": "second"}))

    assert stored == ServiceCredentials(KEY, {"other": "second"}, None, born, clock.now, 2)
    assert repository.get_credentials(tenant, "github", KEY) == stored


def test_version_and_times_of_a_passed_credential_are_ignored(repository: TokenRepository, clock: ManualClock) -> None:
    odd = datetime(1999, 1, 1, tzinfo=UTC)

    stored = repository.store_credentials(
        new_tenant(repository), "github", ServiceCredentials(KEY, {}, None, odd, odd, 77)
    )

    assert (stored.created_at, stored.updated_at, stored.version) == (clock.now, clock.now, 1)


def test_an_absent_credential_is_none(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)

    assert repository.get_credentials(tenant, "github", KEY) is None
    assert repository.delete_credentials(tenant, "github", KEY) is False
    assert repository.list_credentials(tenant) == {}
    assert repository.list_credentials(tenant, credential_type=KEY) == {}


def test_the_expected_version_of_a_credential_must_stand(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    with pytest.raises(VersionConflict):
        repository.store_credentials(tenant, "github", api_key(), expected_version=1)
    repository.store_credentials(tenant, "github", api_key("first"), expected_version=0)
    before = exported(repository)

    for stale in (0, 2):
        with pytest.raises(VersionConflict):
            repository.store_credentials(tenant, "github", api_key("stale"), expected_version=stale)

    assert exported(repository) == before
    assert repository.store_credentials(tenant, "github", api_key("second"), expected_version=1).version == 2


def test_the_version_outlives_the_credential(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    repository.store_credentials(tenant, "github", api_key())
    repository.delete_credentials(tenant, "github", KEY)
    assert repository.store_credentials(tenant, "github", api_key(expires_at=clock.now + HOUR)).version == 2
    clock.advance(HOUR)
    repository.purge_expired()

    assert repository.store_credentials(tenant, "github", api_key()).version == 3


def expired_credential(repository: TokenRepository, clock: ManualClock) -> str:
    tenant = new_tenant(repository)
    repository.store_credentials(tenant, "github", api_key("old", expires_at=clock.now + HOUR))
    clock.advance(HOUR - timedelta(microseconds=1))
    assert repository.get_credentials(tenant, "github", KEY) is not None
    clock.advance(timedelta(microseconds=1))
    return tenant


def test_an_expired_credential_is_absent_everywhere(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = expired_credential(repository, clock)
    kept = repository.store_credentials(tenant, "slack", api_key(expires_at=clock.now + HOUR))

    assert repository.get_credentials(tenant, "github", KEY) is None
    assert repository.list_credentials(tenant) == {("slack", KEY): kept}
    assert repository.list_credentials(tenant, credential_type=KEY) == {("slack", KEY): kept}
    info = repository.get_tenant(tenant)
    assert info is not None
    assert info.credentials == 1
    assert [listed.credentials for listed in repository.list_tenants()] == [1]
    assert repository.stats().credentials == {KEY: 1}


def test_deleting_an_expired_credential_says_there_was_none(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = expired_credential(repository, clock)

    assert repository.delete_credentials(tenant, "github", KEY) is False
    assert repository.get_credentials(tenant, "github", KEY) is None


def test_storing_over_an_expired_credential_begins_anew(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = expired_credential(repository, clock)

    with pytest.raises(VersionConflict):
        repository.store_credentials(tenant, "github", api_key(), expected_version=1)
    stored = repository.store_credentials(tenant, "github", api_key("new"), expected_version=0)

    assert (stored.created_at, stored.updated_at, stored.version) == (clock.now, clock.now, 2)
    assert repository.get_credentials(tenant, "github", KEY) == stored


def test_a_credential_that_had_expired_when_stored_is_absent_at_once(
    repository: TokenRepository, clock: ManualClock
) -> None:
    tenant = new_tenant(repository)

    repository.store_credentials(tenant, "github", api_key(expires_at=clock.now))

    assert repository.get_credentials(tenant, "github", KEY) is None


def test_an_expired_credentials_secret_leaves_the_store_with_a_purge(
    repository: TokenRepository, clock: ManualClock
) -> None:
    expired_credential(repository, clock)

    assert repository.purge_expired()["credentials"] == 1

    assert not [r for r in exported(repository) if isinstance(r, SecretRecord) and r.place.kind is Kind.CREDENTIAL]


def test_what_the_system_tenant_has_done_with_leaves_nothing_behind(
    repository: TokenRepository, clock: ManualClock
) -> None:
    before = exported(repository)
    for number in range(3):
        repository.store_credentials(SYSTEM_TENANT, f"expired {number}", api_key(expires_at=clock.now + HOUR))
        repository.store_credentials(SYSTEM_TENANT, f"deleted {number}", api_key())
        repository.delete_credentials(SYSTEM_TENANT, f"deleted {number}", KEY)
    repository.store_credentials(SYSTEM_TENANT, "kept", api_key())
    clock.advance(HOUR)

    assert repository.purge_expired()["credentials"] == 3

    added = [record for record in exported(repository) if record not in before]
    assert {record.place.service for record in added if isinstance(record, SecretRecord | CounterRecord)} == {"kept"}
    assert repository.store_credentials(SYSTEM_TENANT, "kept", api_key()).version == 2


def test_a_tenants_versions_go_on_after_a_purge(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    repository.store_credentials(tenant, "github", api_key())
    repository.delete_credentials(tenant, "github", KEY)
    repository.purge_expired()

    assert repository.store_credentials(tenant, "github", api_key()).version == 2


def test_credentials_outlive_reopening(repository: TokenRepository, reopen: Callable[[], TokenRepository]) -> None:
    tenant = new_tenant(repository)
    stored = repository.store_credentials(tenant, "github", api_key())

    assert reopen().list_credentials(tenant) == {("github", KEY): stored}


def test_an_unknown_credential_type_is_refused(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    before = exported(repository)
    odd: list[Any] = ["API_KEY", "password", "", 5, "api_key\0", "api_key ", b"api_key", ["api_key"], None]

    for type in odd:
        store = partial(repository.store_credentials, tenant, "github", ServiceCredentials(type, {}))
        assert refused_field(store) == "type", type
        assert refused_field(partial(repository.get_credentials, tenant, "github", type)) == "credential_type", type
        assert refused_field(partial(repository.delete_credentials, tenant, "github", type)) == "credential_type", type
        if type is not None:
            listing = partial(repository.list_credentials, tenant, credential_type=type)
            assert refused_field(listing) == "credential_type", type

    assert exported(repository) == before
