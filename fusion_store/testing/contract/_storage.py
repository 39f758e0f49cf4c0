from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from fusion_store import SYSTEM_TENANT, AlreadyExists, CorruptRecord, CredentialType, TenantNotFound
from fusion_store.backend import (
    PLAIN_MARK,
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    RecordRepository,
    SecretRecord,
    SecretState,
    TenantRecord,
)
from fusion_store.testing import ContractStore, ManualClock
from fusion_store.testing.contract._making import (
    UNKNOWN,
    api_key,
    at_once,
    crafted_hash,
    crafted_tenant,
    crafted_token,
    exported,
    in_order,
    micros,
    new_tenant,
    oauth,
)

HOUR = timedelta(hours=1)


def test_payloads_are_opaque_to_the_storage(storage: RecordRepository) -> None:
    tenant = new_tenant(storage)
    for number, payload in enumerate((b"", b"\0", bytes(range(256)), b"\xff" * 200_000)):
        place = Place(tenant, Kind.OAUTH, f"{number}")
        record = SecretRecord(place, payload, None, -1, 2**40, 7)

        storage.change_secret(place, lambda state, record=record: replace(state, secret=record), PLAIN_MARK)  # type: ignore[misc]

        assert storage.read_secret(place) == record
        assert record in storage.scan_secrets(tenant, Kind.OAUTH)


def test_a_change_sees_the_state_of_its_place(storage: RecordRepository) -> None:
    tenant = new_tenant(storage)
    place = Place(tenant, Kind.OAUTH, "github")
    seen: list[SecretState] = []

    def look(state: SecretState) -> None:
        seen.append(state)

    assert storage.change_secret(place, look, PLAIN_MARK) is None
    storage.store_oauth_token(tenant, "github", oauth())
    storage.change_secret(place, look, PLAIN_MARK)
    storage.change_secret(replace(place, tenant_hash=UNKNOWN), look, PLAIN_MARK)

    assert seen[0] == SecretState(True, None, CounterRecord(place))
    assert seen[-2].secret == storage.read_secret(place)
    assert seen[-2].counter == CounterRecord(place, version=1)
    assert seen[-1].tenant_exists is False


def test_a_change_that_raises_changes_nothing(storage: RecordRepository) -> None:
    tenant = new_tenant(storage)
    place = Place(tenant, Kind.OAUTH, "github")
    storage.store_oauth_token(tenant, "github", oauth())
    before = exported(storage)

    def fail(state: SecretState) -> SecretState:
        raise KeyError("the change's own error")

    with pytest.raises(KeyError):
        storage.change_secret(place, fail, PLAIN_MARK)

    assert exported(storage) == before
    assert storage.store_oauth_token(tenant, "github", oauth()).version == 2


def test_changes_of_one_place_do_not_overlap(storage: RecordRepository) -> None:
    tenant = new_tenant(storage)
    place = Place(tenant, Kind.OAUTH, "github")

    def count(state: SecretState) -> SecretState:
        return replace(state, counter=replace(state.counter, version=state.counter.version + 1))

    def count_five_times() -> None:
        for _ in range(5):
            storage.change_secret(place, count, PLAIN_MARK)

    at_once([count_five_times] * 16)

    counters = [record for record in exported(storage) if isinstance(record, CounterRecord)]
    assert counters == [CounterRecord(place, version=80)]


def test_marks_are_set_read_and_deleted(storage: RecordRepository, contract_store: ContractStore) -> None:
    assert storage.read_mark("encryption") is None

    storage.write_mark("encryption", b"\0first\xff")
    storage.write_mark("encryption", b"second")
    storage.write_mark("schema", b"")
    storage.write_mark("gone", b"x")
    storage.write_mark("gone", None)
    storage.write_mark("never", None)

    assert storage.read_mark("encryption") == b"second"
    assert storage.read_mark("schema") == b""
    assert storage.read_mark("gone") is None
    storage.close()
    with contract_store.open_storage() as again:
        assert again.read_mark("encryption") == b"second"


def test_the_signal_changes_with_deletions_and_rotations_only(storage: RecordRepository, clock: ManualClock) -> None:
    first = storage.add_api_token()
    second = storage.add_api_token(tenant_hash=first.hash)
    third = storage.add_api_token(tenant_hash=first.hash)
    signal = storage.change_signal()

    storage.validate_api_token(first.token)
    storage.store_oauth_token(first.hash, "github", oauth())
    storage.flush()
    storage.delete_api_token(UNKNOWN)
    storage.delete_tenant(UNKNOWN)
    assert storage.change_signal() == signal

    signals = [signal]
    rotated = storage.rotate_api_token(first.hash)
    signals.append(storage.change_signal())
    storage.rotate_api_token(rotated.hash, grace=HOUR)
    signals.append(storage.change_signal())
    storage.delete_api_token(second.hash)
    signals.append(storage.change_signal())
    storage.delete_tenant(third.metadata.tenant_hash)
    signals.append(storage.change_signal())
    last = storage.add_api_token()
    storage.delete_api_token(last.hash)
    signals.append(storage.change_signal())
    assert len(set(signals)) == len(signals)


def test_a_purge_of_api_tokens_raises_the_signal(storage: RecordRepository, clock: ManualClock) -> None:
    tenant = new_tenant(storage)
    storage.add_api_token(tenant_hash=tenant, expires_at=clock.now)
    signal = storage.change_signal()

    assert storage.purge_expired()["api_tokens"] == 1

    assert storage.change_signal() != signal


def test_a_token_of_a_known_hash_is_not_inserted_twice(storage: RecordRepository) -> None:
    storage.import_records(crafted_tenant(1))
    before = exported(storage)

    with pytest.raises(AlreadyExists):
        storage.insert_api_token(crafted_token(1), None, PLAIN_MARK)
    with pytest.raises(AlreadyExists):
        storage.insert_api_token(crafted_token(2, crafted_hash(1)), TenantRecord(crafted_hash(1), 0), PLAIN_MARK)
    with pytest.raises(TenantNotFound):
        storage.insert_api_token(crafted_token(2, UNKNOWN), None, PLAIN_MARK)

    assert exported(storage) == before


def test_a_token_that_changed_meanwhile_is_not_replaced(storage: RecordRepository, clock: ManualClock) -> None:
    storage.import_records(crafted_tenant(1))
    old = storage.read_api_token(crafted_hash(1))
    assert old is not None
    storage.rotate_api_token(old.hash, grace=HOUR)
    before = exported(storage)

    assert storage.replace_api_token(old, crafted_token(2, old.tenant_hash), None) is False
    assert exported(storage) == before
    storage.delete_api_token(old.hash)
    before = exported(storage)
    assert storage.replace_api_token(old, crafted_token(2, old.tenant_hash), None) is False
    assert exported(storage) == before


def test_touching_moves_forward_and_skips_what_is_gone(storage: RecordRepository) -> None:
    storage.import_records([*crafted_tenant(1), *crafted_tenant(2)])
    one, two = crafted_hash(1), crafted_hash(2)

    storage.touch_api_tokens({one: 10, two: -5, UNKNOWN: 10})
    storage.touch_api_tokens({one: 9, two: -4})
    storage.touch_api_tokens({})

    assert {r.hash: r.last_used for r in exported(storage) if isinstance(r, APITokenRecord)} == {one: 10, two: -4}


def test_a_payload_is_replaced_with_all_else_untouched(storage: RecordRepository) -> None:
    tenant = new_tenant(storage)
    storage.store_oauth_token(tenant, "github", oauth())
    storage.create_auth_code(tenant, "github", ttl=HOUR)
    records = exported(storage)
    for record in records:
        if isinstance(record, SecretRecord | AuthCodeRecord):
            assert storage.replace_payloads([(record, b"sealed")]) == 1
            assert storage.replace_payloads([(record, b"sealed again")]) == 0
    expected = [
        replace(record, payload=b"sealed") if isinstance(record, SecretRecord | AuthCodeRecord) else record
        for record in records
    ]

    assert in_order(storage.scan_records(None, 100).records) == expected


def test_a_payload_that_does_not_read_is_named_and_never_passed_off_as_data(storage: RecordRepository) -> None:
    tenant = new_tenant(storage)
    storage.store_oauth_token(tenant, "github", oauth())
    storage.store_oauth_token(tenant, "sound", oauth())
    storage.store_credentials(tenant, "slack", api_key())
    code = storage.create_auth_code(tenant, "login", ttl=HOUR)
    damaged = ("github", "slack", "login")
    for record in exported(storage):
        if isinstance(record, SecretRecord | AuthCodeRecord) and record.place.service in damaged:
            assert storage.replace_payloads([(record, record.payload[:-1] + b"?")]) == 1

    reads: list[tuple[str, str, Callable[[], object]]] = [
        ("oauth", "github", partial(storage.get_oauth_token, tenant, "github")),
        ("oauth", "github", partial(storage.list_oauth_tokens, tenant)),
        ("credential", "slack", partial(storage.get_credentials, tenant, "slack", CredentialType.API_KEY)),
        ("credential", "slack", partial(storage.list_credentials, tenant)),
        ("auth_code", "login", partial(storage.redeem_auth_code, code)),
    ]
    report = storage.check()
    with pytest.raises(CorruptRecord):
        exported(storage)
    for kind, service, read in reads:
        with pytest.raises(CorruptRecord) as caught:
            read()
        assert (caught.value.kind, caught.value.tenant_hash, caught.value.service) == (kind, tenant, service)

    assert not report.ok
    places = {(place.kind, place.tenant_hash, place.service) for place in report.corrupt}
    assert places == {(kind, tenant, service) for kind, service, _ in reads}
    assert len(report.corrupt) == 3
    assert storage.get_oauth_token(tenant, "sound") is not None
    assert storage.delete_oauth_token(tenant, "github") is True
    assert storage.delete_tenant(tenant) is True
    assert storage.check().ok


def test_a_payload_of_what_is_gone_is_not_replaced(storage: RecordRepository) -> None:
    tenant = new_tenant(storage)
    storage.store_oauth_token(tenant, "github", oauth())
    code = storage.create_auth_code(tenant, "github", ttl=HOUR)
    records = [record for record in exported(storage) if isinstance(record, SecretRecord | AuthCodeRecord)]
    storage.delete_oauth_token(tenant, "github")
    storage.redeem_auth_code(code)
    before = exported(storage)

    assert [storage.replace_payloads([(record, b"sealed")]) for record in records] == [0, 0]
    assert exported(storage) == before


def test_raw_records_come_by_pages_of_tenants(storage: RecordRepository, clock: ManualClock) -> None:
    for _ in range(5):
        tenant = new_tenant(storage)
        storage.add_api_token(tenant_hash=tenant)
        storage.store_oauth_token(tenant, "github", oauth())
        storage.claim_refresh(tenant, "github", ttl=HOUR)

    pages, after = [], None
    while True:
        page = storage.scan_records(after, 2)
        assert page.corrupt == ()
        pages.append(page.records)
        after = page.after
        if after is None:
            break

    tenants = [[record.tenant_hash for record in page if isinstance(record, TenantRecord)] for page in pages]
    assert [len(page) for page in tenants if page] == [2, 2, 2]
    flat = [hash for page in tenants for hash in page]
    assert flat == [SYSTEM_TENANT, *sorted(flat[1:])]
    claims = [record for page in pages for record in page if isinstance(record, CounterRecord)]
    assert {claim.claim_deadline for claim in claims} == {micros(clock.now + HOUR)}
    assert {claim.claim_fence for claim in claims} == {1}
    without_claims = [r.without_claim() if isinstance(r, CounterRecord) else r for page in pages for r in page]
    assert in_order(without_claims) == exported(storage)


def test_a_purge_stops_at_its_limit(storage: RecordRepository, clock: ManualClock) -> None:
    tenant = new_tenant(storage)
    for _ in range(3):
        storage.create_auth_code(tenant, "github", ttl=HOUR)
        storage.add_api_token(tenant_hash=tenant, expires_at=clock.now + HOUR)
    now = micros(clock.advance(HOUR))

    purged = [storage.purge_records(now, 2) for _ in range(3)]

    assert [(step["codes"], step["api_tokens"]) for step in purged] == [(2, 2), (1, 1), (0, 0)]
