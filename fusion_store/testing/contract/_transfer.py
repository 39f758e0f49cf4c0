from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from fusion_store import SYSTEM_TENANT, AlreadyExists, FusionStoreError, InvalidInput, TenantNotFound, TokenRepository
from fusion_store.backend import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    Record,
    SecretRecord,
    TenantRecord,
)
from fusion_store.testing import ManualClock
from fusion_store.testing.contract._making import (
    api_key,
    crafted_hash,
    crafted_tenant,
    crafted_token,
    exported,
    micros,
    new_tenant,
    oauth,
    tenant_of,
    without_mark,
)

HOUR = timedelta(hours=1)


def furnish(repository: TokenRepository, clock: ManualClock) -> tuple[str, str]:
    """Three tenants and the system tenant with some of everything; answers an API token and a code."""
    code = ""
    issued = repository.add_api_token("é😀", scopes=["a"], expires_at=clock.now + HOUR)
    for tenant in (new_tenant(repository), new_tenant(repository), SYSTEM_TENANT, issued.hash):
        for service in ("github", "é😀", "a/b"):
            repository.store_oauth_token(tenant, service, oauth(expires_at=clock.now + HOUR, metadata={"a": "b"}))
            clock.advance(timedelta(microseconds=1))
            repository.store_oauth_token(tenant, service, oauth(service))
            repository.store_credentials(tenant, service, api_key(service, expires_at=clock.now + HOUR))
        repository.delete_oauth_token(tenant, "a/b")
        repository.claim_refresh(tenant, "slack", ttl=HOUR)
        code = repository.create_auth_code(tenant, "github", ttl=HOUR, payload={"n": 1})
    repository.add_api_token(tenant_hash=issued.hash)
    repository.validate_api_token(issued.token)
    return issued.token, code


def test_an_export_is_ordered_by_tenant_and_tells_each_tenant_first(
    repository: TokenRepository, clock: ManualClock
) -> None:
    furnish(repository, clock)

    records = without_mark(repository.export_records())

    tenants = [record.tenant_hash for record in records if isinstance(record, TenantRecord)]
    assert tenants == sorted(tenants)
    assert len(tenants) == 4
    assert tenants[0] == SYSTEM_TENANT
    seen: list[str] = []
    for record in records:
        if isinstance(record, TenantRecord):
            seen.append(record.tenant_hash)
        assert tenant_of(record) == seen[-1]


def test_an_export_holds_times_and_versions_as_stored(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    born = clock.now
    repository.store_oauth_token(tenant, "github", oauth())
    clock.advance(HOUR)
    repository.store_oauth_token(tenant, "github", oauth(expires_at=clock.now + HOUR))
    repository.claim_refresh(tenant, "github", ttl=HOUR)

    records = [record for record in exported(repository) if tenant_of(record) == tenant]

    place = Place(tenant, Kind.OAUTH, "github")
    secret = next(record for record in records if isinstance(record, SecretRecord))
    assert (secret.place, secret.version) == (place, 2)
    assert (secret.created_at, secret.updated_at) == (micros(born), micros(clock.now))
    assert secret.expires_at == micros(clock.now + HOUR)
    assert TenantRecord(tenant, micros(born)) in records
    assert CounterRecord(place, version=2, fence=1) in records
    assert len(records) == 4


def test_a_round_trip_through_another_store_brings_everything_back(
    repository: TokenRepository, clock: ManualClock, reference: TokenRepository
) -> None:
    token, code = furnish(repository, clock)
    records = exported(repository)
    system = [record for record in records if tenant_of(record) == SYSTEM_TENANT]
    tenants = [tenant.tenant_hash for tenant in repository.list_tenants()]
    values = [(repository.list_oauth_tokens(t), repository.list_credentials(t)) for t in [*tenants, SYSTEM_TENANT]]

    assert reference.import_records(records) == len(records) - 1, "the system tenant stood already"

    assert exported(reference) == records
    assert reference.import_records(records) == 0
    assert [
        (reference.list_oauth_tokens(t), reference.list_credentials(t)) for t in [*tenants, SYSTEM_TENANT]
    ] == values
    assert reference.list_tenants() == repository.list_tenants()
    assert reference.list_api_tokens() == repository.list_api_tokens()
    assert reference.validate_api_token(token) is not None
    for tenant in tenants:
        repository.delete_tenant(tenant)

    assert repository.import_records(iter(records)) == len(records) - len(system)

    assert exported(repository) == records
    assert repository.import_records(records) == 0
    assert repository.validate_api_token(token) is not None
    assert repository.redeem_auth_code(code) is not None
    assert repository.check().ok


def test_an_import_from_the_reference_model_reads_the_same(
    repository: TokenRepository, clock: ManualClock, reference: TokenRepository
) -> None:
    token, code = furnish(reference, clock)

    repository.import_records(reference.export_records())

    assert exported(repository) == exported(reference)
    assert repository.list_api_tokens() == reference.list_api_tokens()
    assert repository.list_tenants() == reference.list_tenants()
    for tenant in repository.list_tenants():
        assert repository.list_oauth_tokens(tenant.tenant_hash) == reference.list_oauth_tokens(tenant.tenant_hash)
        assert repository.list_credentials(tenant.tenant_hash) == reference.list_credentials(tenant.tenant_hash)
    assert repository.validate_api_token(token) is not None
    assert repository.redeem_auth_code(code) == reference.redeem_auth_code(code)
    assert repository.store_oauth_token(repository.list_tenants()[0].tenant_hash, "a/b", oauth()).version == 3


def test_claims_stay_where_they_were_taken_but_fences_go_along(
    repository: TokenRepository, clock: ManualClock, reference: TokenRepository
) -> None:
    tenant = new_tenant(repository)
    repository.claim_refresh(tenant, "github", ttl=HOUR)

    reference.import_records(repository.export_records())

    claim = reference.claim_refresh(tenant, "github", ttl=HOUR)
    assert claim is not None
    assert claim.fence == 2
    assert repository.claim_refresh(tenant, "github", ttl=HOUR) is None


def test_a_claim_in_a_record_is_not_taken_over(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    place = Place(tenant, Kind.OAUTH, "github")

    repository.import_records([CounterRecord(place, 3, 2, 2, "elsewhere", micros(clock.now + HOUR))])

    claim = repository.claim_refresh(tenant, "github", ttl=HOUR)
    assert claim is not None
    assert (claim.fence, claim.token_version) == (3, 3)


def test_a_token_whose_counter_was_not_imported_still_counts_on(
    repository: TokenRepository, reference: TokenRepository
) -> None:
    tenant = new_tenant(reference)
    for _ in range(5):
        reference.store_oauth_token(tenant, "github", oauth())
    repository.import_records(r for r in exported(reference) if not isinstance(r, CounterRecord))

    claim = repository.claim_refresh(tenant, "github", ttl=HOUR)
    assert claim is not None
    assert claim.token_version == 5
    repository.delete_oauth_token(tenant, "github")

    assert repository.store_oauth_token(tenant, "github", oauth()).version == 6


def test_importing_counts_only_what_is_new(repository: TokenRepository) -> None:
    first, second = crafted_tenant(1), crafted_tenant(2)

    assert repository.import_records(first) == 2
    assert repository.import_records([*first, *second, *second]) == 2
    assert repository.import_records([]) == 0


def test_a_token_used_since_is_still_the_same_record(repository: TokenRepository, clock: ManualClock) -> None:
    issued = repository.add_api_token()
    before = exported(repository)
    repository.validate_api_token(issued.token)
    repository.flush()

    assert repository.import_records(before) == 0

    known = repository.get_api_token(issued.hash)
    assert known is not None
    assert known.last_used == clock.now


def test_a_record_with_other_content_is_refused(repository: TokenRepository, clock: ManualClock) -> None:
    furnish(repository, clock)
    before = exported(repository)
    tenant = next(r for r in before if isinstance(r, TenantRecord) and r.tenant_hash != SYSTEM_TENANT)
    token = next(r for r in before if isinstance(r, APITokenRecord))
    secret = next(r for r in before if isinstance(r, SecretRecord) and r.place.kind is Kind.OAUTH)
    counter = next(r for r in before if isinstance(r, CounterRecord))
    new: list[Record] = [*crafted_tenant(1)]

    for changed in (
        replace(tenant, created_at=tenant.created_at + 1),
        replace(token, description="other"),
        replace(token, prefix="othersee"),
        replace(token, scopes=("other",)),
        replace(token, created_at=token.created_at + 1),
        replace(token, expires_at=1),
        replace(secret, version=secret.version + 1),
        replace(secret, updated_at=secret.updated_at + 1),
        replace(counter, version=counter.version + 1),
        replace(counter, fence=counter.fence + 1),
    ):
        with pytest.raises(AlreadyExists):
            repository.import_records([*new, changed])
        assert exported(repository) == before, changed


def test_a_token_can_not_be_imported_into_a_second_tenant(repository: TokenRepository) -> None:
    repository.import_records([*crafted_tenant(1), *crafted_tenant(2)])

    with pytest.raises(AlreadyExists):
        repository.import_records([replace(crafted_token(1), tenant_hash=crafted_hash(2))])


def test_two_records_of_one_place_in_one_import_are_refused(repository: TokenRepository) -> None:
    with pytest.raises(AlreadyExists):
        repository.import_records([*crafted_tenant(1), replace(crafted_token(1), description="other")])

    assert repository.list_tenants() == []


def test_a_record_of_an_unknown_tenant_is_refused(
    repository: TokenRepository, clock: ManualClock, reference: TokenRepository
) -> None:
    furnish(reference, clock)
    before = exported(repository)
    orphans = [r for r in exported(reference) if tenant_of(r) != SYSTEM_TENANT and not isinstance(r, TenantRecord)]
    assert {type(record) for record in orphans} == {APITokenRecord, SecretRecord, CounterRecord, AuthCodeRecord}

    for orphan in orphans:
        with pytest.raises(TenantNotFound):
            repository.import_records([*crafted_tenant(1), orphan])

    assert exported(repository) == before


def test_a_tenant_must_come_before_its_records(repository: TokenRepository) -> None:
    tenant, token = crafted_tenant(1)

    with pytest.raises(TenantNotFound):
        repository.import_records([token, tenant])

    assert repository.import_records([tenant, token]) == 2


HASH = crafted_hash(1)
PLACE = Place(HASH, Kind.OAUTH, "github")
ODD: Any = None
MALFORMED: list[Any] = [
    None,
    {"record": "tenant"},
    ("tenant", HASH, 0),
    b"",
    TenantRecord("", 0),
    TenantRecord(HASH.upper(), 0),
    TenantRecord(HASH + "0", 0),
    TenantRecord(HASH, 2**63),
    TenantRecord(HASH, ODD),
    TenantRecord(HASH, True),
    replace(crafted_token(1), hash="no hash"),
    replace(crafted_token(1), tenant_hash="no hash"),
    replace(crafted_token(1), prefix=""),
    replace(crafted_token(1), prefix="ninechars"),
    replace(crafted_token(1), prefix="wild%"),
    replace(crafted_token(1), prefix="abcd\n"),
    replace(crafted_token(1), description="x" * 257),
    replace(crafted_token(1), description="\0"),
    replace(crafted_token(1), description=ODD),
    replace(crafted_token(1), scopes=("a",) * 65),
    replace(crafted_token(1), scopes=("a b",)),
    replace(crafted_token(1), scopes=("\ud800",)),
    replace(crafted_token(1), scopes="scope"),
    replace(crafted_token(1), scopes=["scope"]),
    replace(crafted_token(1), expires_at=10**18),
    replace(crafted_token(1), last_used=-(10**18)),
    replace(crafted_token(1), created_at="0"),
    SecretRecord(PLACE, "text", None, 0, 0, 1),  # type: ignore[arg-type]
    SecretRecord(PLACE, b"", None, 0, 0, -1),
    SecretRecord(PLACE, b"", 2**63, 0, 0, 1),
    SecretRecord(ODD, b"", None, 0, 0, 1),
    SecretRecord(replace(PLACE, service=" padded"), b"", None, 0, 0, 1),
    SecretRecord(replace(PLACE, service=""), b"", None, 0, 0, 1),
    SecretRecord(replace(PLACE, service="e\u0301"), b"", None, 0, 0, 1),
    SecretRecord(replace(PLACE, service=5), b"", None, 0, 0, 1),
    SecretRecord(replace(PLACE, tenant_hash="x"), b"", None, 0, 0, 1),
    SecretRecord(replace(PLACE, kind=Kind.AUTH_CODE), b"", None, 0, 0, 1),
    SecretRecord(replace(PLACE, kind="other"), b"", None, 0, 0, 1),
    SecretRecord(replace(PLACE, credential_type="api_key"), b"", None, 0, 0, 1),
    SecretRecord(replace(PLACE, kind=Kind.CREDENTIAL), b"", None, 0, 0, 1),
    SecretRecord(replace(PLACE, kind=Kind.CREDENTIAL, credential_type="other"), b"", None, 0, 0, 1),
    CounterRecord(PLACE, version=-1),
    CounterRecord(PLACE, fence=-1),
    CounterRecord(PLACE, fence=2**63),
    CounterRecord(PLACE, version=True),
    CounterRecord(replace(PLACE, kind=Kind.AUTH_CODE)),
    AuthCodeRecord("no hash", replace(PLACE, kind=Kind.AUTH_CODE), b"", 0),
    AuthCodeRecord(HASH, PLACE, b"", 0),
    AuthCodeRecord(HASH, replace(PLACE, kind=Kind.AUTH_CODE), b"", ODD),
]


def test_a_malformed_record_is_refused(repository: TokenRepository) -> None:
    before = exported(repository)
    not_refused: list[tuple[object, object]] = []

    for malformed in MALFORMED:
        try:
            not_refused.append((malformed, repository.import_records([*crafted_tenant(1), malformed])))
        except InvalidInput:
            continue
        except Exception as error:
            not_refused.append((malformed, error))

    assert not_refused == []
    assert exported(repository) == before


@pytest.mark.parametrize("kind", ["oauth", "credential"])
def test_a_record_whose_kind_is_a_plain_string_is_refused_or_taken_in_as_that_kind(
    repository: TokenRepository, reference: TokenRepository, kind: Any
) -> None:
    tenant = new_tenant(reference)
    reference.store_oauth_token(tenant, "github", oauth())
    reference.store_credentials(tenant, "github", api_key())
    records = [
        replace(r, place=replace(r.place, kind=str(r.place.kind.value)))
        if isinstance(r, SecretRecord) and r.place.kind == kind
        else r
        for r in exported(reference)
    ]

    try:
        repository.import_records(records)
    except InvalidInput:
        assert repository.list_tenants() == []
    else:
        assert repository.list_oauth_tokens(tenant) == reference.list_oauth_tokens(tenant)
        assert repository.list_credentials(tenant) == reference.list_credentials(tenant)
        assert repository.get_oauth_token(tenant, "github") == reference.get_oauth_token(tenant, "github")
        assert repository.list_tenants() == reference.list_tenants()


def test_a_record_whose_payload_does_not_read_is_refused(
    repository: TokenRepository, reference: TokenRepository
) -> None:
    tenant = new_tenant(reference)
    reference.store_oauth_token(tenant, "github", oauth())
    reference.store_credentials(tenant, "github", api_key())
    reference.create_auth_code(tenant, "github", ttl=HOUR)
    records = exported(reference)
    before = exported(repository)

    for record in records:
        if isinstance(record, SecretRecord | AuthCodeRecord):
            flipped = bytes([*record.payload[:-1], record.payload[-1] ^ 1])
            for payload in (b"", b"garbage", record.payload[:-1], flipped):
                with pytest.raises(FusionStoreError):
                    repository.import_records([*records, replace(record, payload=payload)])
                assert exported(repository) == before


def test_a_payload_can_not_be_imported_at_another_place(
    repository: TokenRepository, reference: TokenRepository
) -> None:
    tenant, thief = new_tenant(reference), new_tenant(reference)
    reference.store_oauth_token(tenant, "github", oauth())
    records = [r for r in exported(reference) if not isinstance(r, CounterRecord)]
    secret = next(r for r in records if isinstance(r, SecretRecord))
    before = exported(repository)

    for place in (replace(secret.place, tenant_hash=thief), replace(secret.place, service="slack")):
        with pytest.raises(FusionStoreError):
            repository.import_records([*(r for r in records if r is not secret), replace(secret, place=place)])
        assert exported(repository) == before
    with pytest.raises(FusionStoreError):
        repository.import_records([replace(r, expires_at=5) if r is secret else r for r in records])
    assert exported(repository) == before


def test_an_import_that_stopped_half_way_can_be_run_again(repository: TokenRepository) -> None:
    records = [record for number in range(600) for record in crafted_tenant(number)]

    def broken_off() -> Iterator[Record]:
        yield from records[:1100]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        repository.import_records(broken_off())
    imported = len(exported(repository)) - 1
    assert imported <= 1100

    assert repository.import_records(records) == 1200 - imported
    assert repository.stats().tenants == 600
    assert repository.check().ok


def test_an_export_goes_on_while_tenants_come_and_go(repository: TokenRepository) -> None:
    hashes = [crafted_hash(number) for number in range(1100)]
    repository.import_records(TenantRecord(hash, 0) for hash in hashes)
    deleted = set(hashes[1::100])

    seen: list[str] = []
    for record in without_mark(repository.export_records()):
        if isinstance(record, TenantRecord):
            seen.append(record.tenant_hash)
            if len(seen) == 100:
                for tenant in deleted:
                    repository.delete_tenant(tenant)
                new_tenant(repository)

    assert len(seen) == len(set(seen))
    assert set(hashes) - deleted <= set(seen)
