"""Comparing two stores."""

from __future__ import annotations

from msgspec.structs import replace

from fusion_store import SYSTEM_TENANT, CredentialType, OAuthTokenData
from fusion_store.backend import (
    ENCRYPTION_MARK,
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
from fusion_store.layers import EncryptedTokenRepository, Key
from fusion_store.transfer import MOST_LISTED, Difference, Spot, VerifyReport, copy, verify
from tests.transfer.conftest import Places
from tests.transfer.vaults import HOUR, contents, furnish, secret


def overwrite(_: Record, incoming: Record) -> Record:
    return incoming


def test_a_copy_is_equal_in_either_direction(source: RecordRepository, destination: RecordRepository) -> None:
    furnish(source)
    copy(source, destination, name="here")
    before = contents(source), contents(destination)

    there, back = verify(source, destination), verify(destination, source)

    assert there.equal
    assert back.equal
    assert there.source_digest == there.destination_digest == back.source_digest
    assert (there.tenants, there.records, there.listed) == (4, len(contents(source)), ())
    assert (contents(source), contents(destination)) == before


def test_claims_are_no_difference(places: Places, destination: RecordRepository) -> None:
    source = places.store("memory")
    (tenant,) = furnish(source, 1)
    copy(source, destination, name="here")
    claim = source.claim_refresh(tenant, "other", ttl=HOUR)
    assert claim is not None
    destination.claim_refresh(tenant, "other", ttl=HOUR)
    source.release_refresh(claim)

    assert verify(source, destination).equal


def changes(records: tuple[Record, ...]) -> dict[str, tuple[Record, str]]:
    """One change of each field of each kind of record, and what it is called."""
    tenant = next(r for r in records if isinstance(r, TenantRecord))
    token = next(r for r in records if isinstance(r, APITokenRecord))
    secret = next(r for r in records if isinstance(r, SecretRecord))
    counter = next(r for r in records if isinstance(r, CounterRecord))
    code = next(r for r in records if isinstance(r, AuthCodeRecord))
    return {
        "tenant created_at": (replace(tenant, created_at=5), "content"),
        "token prefix": (replace(token, prefix="other"), "content"),
        "token description": (replace(token, description="other"), "content"),
        "token scopes": (replace(token, scopes=()), "content"),
        "token created_at": (replace(token, created_at=5), "content"),
        "token last_used": (replace(token, last_used=5), "last used"),
        "token never used": (replace(token, last_used=None), "last used"),
        "token expires_at": (replace(token, expires_at=5), "content"),
        "secret payload": (replace(secret, payload=b"other"), "payload"),
        "secret expires_at": (replace(secret, expires_at=5), "content"),
        "secret created_at": (replace(secret, created_at=5), "content"),
        "secret updated_at": (replace(secret, updated_at=5), "content"),
        "secret version": (replace(secret, version=77), "version"),
        "counter version": (replace(counter, version=77), "version"),
        "counter fence": (replace(counter, fence=77), "content"),
        "code payload": (replace(code, payload=b"other"), "payload"),
        "code expires_at": (replace(code, expires_at=5), "content"),
    }


def test_every_field_of_every_record_counts(places: Places, destination: RecordRepository) -> None:
    source = places.store("memory")
    (tenant,) = furnish(source, 1)
    copy(source, destination, name="here")
    records = tuple(r for r in source.scan_records(None, 9).records if tenant in str(r))

    for name, (changed, what) in changes(records).items():
        standing = next(r for r in records if Spot.of(r) == Spot.of(changed))
        destination.insert_records([changed], PLAIN_MARK, overwrite)
        report = verify(source, destination)
        destination.insert_records([standing], PLAIN_MARK, overwrite)

        assert [(d.spot, d.what) for d in report.listed] == [(Spot.of(standing), what)], name
        assert (report.differences, report.differing_tenants) == ({what: 1}, 1)
        assert not report.equal
        assert report.source_digest != report.destination_digest
    assert verify(source, destination).equal


def test_what_one_side_alone_has_is_named(source: RecordRepository, destination: RecordRepository) -> None:
    tenants = sorted(furnish(source, 4))
    copy(source, destination, name="here")
    source.delete_tenant(tenants[0])
    destination.delete_tenant(tenants[3])
    source.delete_oauth_token(tenants[1], "github")
    destination.delete_credentials(SYSTEM_TENANT, "github", CredentialType.BASIC_AUTH)

    report = verify(source, destination)

    kinds = {(d.spot.tenant_hash, d.spot.kind, d.what) for d in report.listed}
    assert {what for hash, _, what in kinds if hash == tenants[0]} == {"extra"}
    assert {what for hash, _, what in kinds if hash == tenants[3]} == {"missing"}
    assert (tenants[0], "tenant", "extra") in kinds
    assert (tenants[3], "api_token", "missing") in kinds
    assert Difference(Spot(tenants[1], "oauth", "github"), "extra", 0, 2) in report.listed
    assert Difference(Spot(SYSTEM_TENANT, "credential", "github", "basic_auth"), "missing", 1, 0) in report.listed
    assert report.differing_tenants == 4
    assert sum(report.differences.values()) == len(report.listed)


def test_versions_are_named(source: RecordRepository, destination: RecordRepository) -> None:
    (tenant,) = furnish(source, 1)
    copy(source, destination, name="here")
    destination.store_oauth_token(tenant, "github", OAuthTokenData("newer"))

    report = verify(source, destination)

    assert report.listed == (
        Difference(Spot(tenant, "counter", "github", "oauth"), "version", 2, 3),
        Difference(Spot(tenant, "oauth", "github"), "version", 2, 3),
    )


def test_counters_of_one_service_are_told_apart(places: Places) -> None:
    source, destination = places.store("memory"), places.store("memory")
    for store in (source, destination):
        store.insert_records([TenantRecord("aa" * 32, 1)], PLAIN_MARK)
    for kind, type in ((Kind.OAUTH, ""), *((Kind.CREDENTIAL, str(type)) for type in CredentialType)):
        source.insert_records([CounterRecord(Place("aa" * 32, kind, "s", type), 3, 0)], PLAIN_MARK)

    report = verify(source, destination)

    assert report.differences == {"missing": 5}
    assert len({difference.spot for difference in report.listed}) == 5


def test_what_does_not_read_is_named(places: Places) -> None:
    """Plain rows of SQLite are easy to damage."""
    import sqlite3
    from contextlib import closing

    source, other = places.store("memory"), places.url("sqlite")
    furnish(source)
    from tests.transfer.vaults import storage

    with storage(other) as destination:
        copy(source, destination, name="here")
    with closing(sqlite3.connect(other.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE oauth_tokens SET version = version + 1 WHERE tenant_hash = ?", (SYSTEM_TENANT,))
        database.commit()
    with storage(other) as destination:
        there, back = verify(source, destination), verify(destination, source)

    assert Difference(Spot(SYSTEM_TENANT, "oauth", "github"), "corrupt in the destination") in there.listed
    assert Difference(Spot(SYSTEM_TENANT, "oauth", "github"), "corrupt in the source") in back.listed
    assert there.differences == {"corrupt in the destination": 1, "missing": 1}


def test_marks_are_compared_where_there_are_records(places: Places, destination: RecordRepository) -> None:
    source = places.store("memory")
    furnish(EncryptedTokenRepository(source, [Key.generate().reveal()]))
    copy(source, destination, name="here")
    assert verify(source, destination).same_encryption

    destination.write_mark(ENCRYPTION_MARK, b"sealed:other")

    report = verify(source, destination)
    assert (report.same_encryption, report.equal, report.differences) == (False, False, {})


def test_two_empty_stores_are_equal_whatever_they_were_opened_for(places: Places) -> None:
    source, destination = places.store("memory"), places.store("memory")
    source.write_mark(ENCRYPTION_MARK, b"sealed:x")

    assert verify(source, destination).equal


def test_equal_stores_have_one_digest_whatever_the_backend_and_others_another(places: Places) -> None:
    source = places.store("memory")
    tenants = furnish(source)
    digests = set()
    for backend in ("memory", "sqlite"):
        store = places.store(backend)
        copy(source, store, name="here")
        digests.add(verify(source, store).destination_digest)
    assert len(digests) == 1
    record = secret(source, tenants[0])
    source.replace_payloads([(record, record.payload + b"?")])
    assert verify(source, source).source_digest not in digests


def test_differences_are_all_counted_and_not_all_listed(places: Places) -> None:
    source, destination = places.store("memory"), places.store("memory")
    number = MOST_LISTED + 100
    source.insert_records([TenantRecord(f"{n:064x}", 1) for n in range(1, number + 1)], PLAIN_MARK)

    report = verify(source, destination)

    assert report.differences == {"missing": number}
    assert report.differing_tenants == number
    assert len(report.listed) == MOST_LISTED


def test_progress_counts_the_tenants_of_both(places: Places) -> None:
    source, destination = places.store("memory"), places.store("memory")
    furnish(source, 3)
    furnish(destination, 2)
    told: list[int] = []

    report = verify(source, destination, progress=told.append)

    assert sum(told) == report.tenants == 6
    assert isinstance(report, VerifyReport)
