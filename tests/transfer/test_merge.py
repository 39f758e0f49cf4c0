"""Copying into a store that holds records already."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fusion_store import (
    SYSTEM_TENANT,
    CredentialType,
    OAuthTokenData,
)
from fusion_store.backend import (
    PLAIN_MARK,
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    Record,
    RecordRepository,
    SecretRecord,
    TenantRecord,
)
from fusion_store.transfer import MOST_LISTED, Conflict, Spot, copy
from tests.transfer.conftest import Places
from tests.transfer.vaults import HOUR, contents, furnish, secret


@pytest.fixture
def source(places: Places) -> RecordRepository:
    """An empty store: the rules look at what comes, not where from."""
    return places.store("memory")


def test_merging_again_changes_nothing(source: RecordRepository, destination: RecordRepository) -> None:
    furnish(source)
    copy(source, destination, name="here")
    before = contents(destination)

    report = copy(source, destination, name="here", merge=True)

    assert (report.added, report.replaced, report.conflicts) == (0, 0, 0)
    assert report.skipped == report.records == len(before)
    assert contents(destination) == before


def test_merging_keeps_what_the_destination_alone_has(source: RecordRepository, destination: RecordRepository) -> None:
    furnish(source)
    mine = furnish(destination)
    before = contents(destination)

    copy(source, destination, name="here", merge=True)

    # The system tenant's records at the same places are the later ones of the two.
    ours = [record for record in before if any(tenant.encode() in record for tenant in mine)]
    theirs = [record for record in contents(source) if SYSTEM_TENANT.encode() not in record]
    assert {*ours, *theirs} <= set(contents(destination))
    assert destination.check().ok


def test_of_two_versions_the_higher_wins_and_is_listed(source: RecordRepository, destination: RecordRepository) -> None:
    ahead, behind = furnish(source, 2)
    copy(source, destination, name="here")
    source.store_oauth_token(ahead, "github", OAuthTokenData("newer"))
    for _ in range(2):
        destination.store_oauth_token(behind, "github", OAuthTokenData("newer there"))

    report = copy(source, destination, name="here", merge=True)

    assert secret(destination, ahead) == secret(source, ahead)
    assert secret(destination, behind).version == 4
    assert sorted(report.listed, key=lambda c: c.kept) == [
        Conflict(Spot(ahead, "oauth", "github"), 2, 3, "incoming"),
        Conflict(Spot(behind, "oauth", "github"), 4, 2, "standing"),
    ]
    assert report.conflicts == 2
    assert destination.store_oauth_token(ahead, "github", OAuthTokenData("x")).version == 4
    assert destination.store_oauth_token(behind, "github", OAuthTokenData("x")).version == 5


def test_of_two_equal_versions_the_later_wins(source: RecordRepository, destination: RecordRepository) -> None:
    tenants = furnish(source, 2)
    copy(source, destination, name="here")
    destination.store_oauth_token(tenants[0], "github", OAuthTokenData("a"))
    source.store_oauth_token(tenants[0], "github", OAuthTokenData("later"))
    source.store_oauth_token(tenants[1], "github", OAuthTokenData("b"))
    destination.store_oauth_token(tenants[1], "github", OAuthTokenData("later"))

    report = copy(source, destination, name="here", merge=True)

    for tenant in tenants:
        token = destination.get_oauth_token(tenant, "github")
        assert token is not None
        assert token.access_token == "later"
    assert {conflict.kept for conflict in report.listed} == {"incoming", "standing"}


def test_counters_never_go_back(source: RecordRepository, destination: RecordRepository) -> None:
    (tenant,) = furnish(source, 1)
    copy(source, destination, name="here")
    for vault, claims in ((source, 3), (destination, 1)):
        for _ in range(claims):
            claim = vault.claim_refresh(tenant, "new", ttl=HOUR)
            assert claim is not None
            vault.release_refresh(claim)
    destination.store_oauth_token(tenant, "new", OAuthTokenData("x"))
    destination.delete_oauth_token(tenant, "new")

    copy(source, destination, name="here", merge=True)

    assert destination.store_oauth_token(tenant, "new", OAuthTokenData("x")).version == 2
    claim = destination.claim_refresh(tenant, "new", ttl=HOUR)
    assert claim is not None
    assert claim.fence == 4


def test_a_claim_in_the_destination_survives_unless_the_source_went_further(
    source: RecordRepository, destination: RecordRepository
) -> None:
    kept, lost = furnish(source, 2)
    copy(source, destination, name="here")
    claims = [destination.claim_refresh(tenant, "github", ttl=HOUR) for tenant in (kept, lost)]
    source.store_oauth_token(lost, "github", OAuthTokenData("newer"))

    copy(source, destination, name="here", merge=True)

    assert claims[0] is not None
    assert destination.commit_refresh(claims[0], OAuthTokenData("mine")).version == 3
    assert destination.claim_refresh(lost, "github", ttl=HOUR) is not None


def test_an_api_token_that_was_revoked_anywhere_does_not_live_longer(
    source: RecordRepository, destination: RecordRepository
) -> None:
    here, there = source.add_api_token(), source.add_api_token()
    copy(source, destination, name="here")
    source.rotate_api_token(here.hash, grace=timedelta(seconds=1))
    destination.rotate_api_token(there.hash, grace=timedelta(seconds=1))
    deadlines = [source.get_api_token(here.hash), destination.get_api_token(there.hash)]

    report = copy(source, destination, name="here", merge=True)

    after = [destination.get_api_token(token.hash) for token in (here, there)]
    assert [token and token.expires_at for token in after] == [token and token.expires_at for token in deadlines]
    assert {(conflict.spot.hash, conflict.kept) for conflict in report.listed} == {
        (here.hash, "earlier expiry"),
        (there.hash, "standing"),
    }
    assert destination.check().ok


def test_a_shortened_token_tells_caches(source: RecordRepository, destination: RecordRepository) -> None:
    token = source.add_api_token()
    copy(source, destination, name="here")
    source.rotate_api_token(token.hash, grace=HOUR)
    signal = destination.change_signal()

    copy(source, destination, name="here", merge=True)

    assert destination.change_signal() != signal


def test_a_later_use_comes_along_an_earlier_one_does_not(
    source: RecordRepository, destination: RecordRepository
) -> None:
    first, second = source.add_api_token(), source.add_api_token()
    copy(source, destination, name="here")
    source.touch_api_tokens({first.hash: 10, second.hash: 10})
    destination.touch_api_tokens({second.hash: 20})

    report = copy(source, destination, name="here", merge=True)

    used = {r.hash: r.last_used for r in destination.scan_api_tokens(None, None, 9)}
    assert used == {first.hash: 10, second.hash: 20}
    assert report.conflicts == 0


def test_what_was_deleted_in_the_destination_stays_deleted(
    source: RecordRepository, destination: RecordRepository
) -> None:
    deleted, stored_since = furnish(source, 2)
    copy(source, destination, name="here")
    for tenant in (deleted, stored_since):
        destination.delete_oauth_token(tenant, "github")
        destination.delete_credentials(tenant, "github", CredentialType.BASIC_AUTH)
    source.store_oauth_token(stored_since, "github", OAuthTokenData("newer"))

    report = copy(source, destination, name="here", merge=True)

    assert destination.get_oauth_token(deleted, "github") is None
    assert destination.list_credentials(deleted) == {}
    assert secret(destination, stored_since) == secret(source, stored_since)
    assert {(c.spot.tenant_hash, c.spot.kind, c.standing_version, c.incoming_version) for c in report.listed} == {
        (deleted, "oauth", 2, 2),
        (deleted, "credential", 1, 1),
        (stored_since, "credential", 1, 1),
    }
    assert {conflict.kept for conflict in report.listed} == {"deletion"}
    assert report.conflicts == 3
    assert report.added + report.replaced + report.skipped == report.records == len(contents(source))


def test_tenants_and_codes_that_differ_stay_and_are_listed(
    source: RecordRepository, destination: RecordRepository
) -> None:
    (tenant,) = furnish(source, 1)
    copy(source, destination, name="here")
    records = source.scan_records(None, 9).records
    changed: list[Record] = [
        replace(record, created_at=5) if isinstance(record, TenantRecord) else replace(record, payload=b"x")
        for record in records
        if isinstance(record, TenantRecord | AuthCodeRecord) and tenant in str(record)
    ]
    destination.insert_records(changed, PLAIN_MARK, lambda _, incoming: incoming)

    report = copy(source, destination, name="here", merge=True)

    assert {(conflict.spot.kind, conflict.kept) for conflict in report.listed} == {
        ("tenant", "standing"),
        ("auth_code", "standing"),
    }
    assert set(changed) <= set(destination.scan_records(None, 9).records)


def test_a_token_of_another_tenant_is_left_where_it_is(source: RecordRepository, destination: RecordRepository) -> None:
    token = source.add_api_token(expires_at=datetime.now(UTC) + HOUR)
    record = source.read_api_token(token.hash)
    owner = destination.add_api_token().hash
    assert record is not None
    destination.insert_records([replace(record, tenant_hash=owner, expires_at=None)], PLAIN_MARK)

    report = copy(source, destination, name="here", merge=True)

    known = destination.read_api_token(token.hash)
    assert known is not None
    assert (known.tenant_hash, known.expires_at) == (owner, record.expires_at)
    assert report.conflicts == 1
    assert destination.check().ok


def test_conflicts_are_all_counted_and_not_all_listed(places: Places) -> None:
    source, destination = places.store("memory"), places.store("memory")
    records: list[Record] = [TenantRecord(f"{number:064x}", 1) for number in range(1, MOST_LISTED + 100)]
    source.insert_records(records, PLAIN_MARK)
    destination.insert_records([replace(record, created_at=2) for record in records], PLAIN_MARK)

    report = copy(source, destination, name="here", merge=True)

    assert report.conflicts == len(records)
    assert len(report.listed) == MOST_LISTED


times = st.none() | st.integers(1, 5)
tokens = st.builds(
    lambda description, last_used, expires_at: APITokenRecord(
        "aa" * 32, "prefix00", "bb" * 32, description, (), 0, last_used, expires_at
    ),
    st.sampled_from(["a", "b"]),
    times,
    times,
)
secrets = st.builds(
    lambda payload, updated_at, version: SecretRecord(
        Place("bb" * 32, Kind.OAUTH, "s"), payload, None, 0, updated_at, version
    ),
    st.sampled_from([b"a", b"b"]),
    st.integers(1, 3),
    st.integers(1, 3),
)
counters = st.builds(
    lambda version, fence: CounterRecord(Place("bb" * 32, Kind.OAUTH, "s"), version, fence),
    st.integers(0, 3),
    st.integers(0, 3),
)


@given(st.tuples(tokens, tokens) | st.tuples(secrets, secrets) | st.tuples(counters, counters))
def test_merging_never_goes_back_and_settles(pair: tuple[Record, Record]) -> None:
    from fusion_store.transfer._merging import merged

    standing, incoming = pair
    after = merged(standing, incoming) or standing

    assert merged(after, incoming) is None, "the same again changes nothing"
    assert merged(standing, standing) is None
    for before in pair:
        if isinstance(after, APITokenRecord) and isinstance(before, APITokenRecord):
            assert before.expires_at is None or (after.expires_at or 9) <= before.expires_at
            assert (after.last_used or 0) >= (before.last_used or 0)
            assert after.description == getattr(standing, "description")  # noqa: B009
        elif isinstance(after, SecretRecord | CounterRecord) and isinstance(before, SecretRecord | CounterRecord):
            assert after.version >= before.version
        if isinstance(after, CounterRecord) and isinstance(before, CounterRecord):
            assert after.fence >= before.fence
