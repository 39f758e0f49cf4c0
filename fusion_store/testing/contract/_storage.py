from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from fusion_store import SYSTEM_TENANT, AlreadyExists, CorruptRecord, CredentialType, StoreLocked, TenantNotFound
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
    tenant_of,
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


def test_a_signal_reader_sees_what_others_change(contract_store: ContractStore, storage: RecordRepository) -> None:
    with ExitStack() as opened:
        try:
            other = opened.enter_context(contract_store.open_storage())
        except StoreLocked:
            other = storage
        read = opened.enter_context(storage.signal_reader())
        seen = [read(), read()]
        for _ in range(3):
            issued = other.add_api_token()
            assert read() == seen[-1]
            other.delete_api_token(issued.hash)
            seen.append(read())
            assert seen[-1] == storage.change_signal()

    assert seen[0] == seen[1]
    assert len(set(seen)) == len(seen) - 1


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


def overwrite(standing: Record, incoming: Record) -> Record:
    return incoming


def leave(standing: Record, incoming: Record) -> None:
    return None


def one_of_each(storage: RecordRepository) -> dict[type[Record], Record]:
    """A tenant with a record of each kind; answers those records."""
    tenant = new_tenant(storage)
    storage.store_oauth_token(tenant, "github", oauth())
    storage.create_auth_code(tenant, "github", ttl=HOUR)
    return {type(record): record for record in exported(storage) if tenant_of(record) == tenant}


def changed_in_every_field(record: Record) -> Record:
    """The record with all but its identity changed."""
    match record:
        case TenantRecord():
            return replace(record, created_at=7)
        case APITokenRecord():
            return replace(
                record,
                prefix="otherone",
                description="other",
                scopes=("other",),
                created_at=7,
                last_used=8,
                expires_at=9,
            )
        case SecretRecord():
            return replace(record, payload=b"other", expires_at=6, created_at=7, updated_at=8, version=9)
        case CounterRecord():
            return CounterRecord(record.place, 7, 8, 8, "owner", 9)
        case AuthCodeRecord():
            return replace(record, payload=b"other", expires_at=7)


def test_the_answer_of_a_rule_is_put_in_place_of_a_standing_record(storage: RecordRepository) -> None:
    records = one_of_each(storage)
    others = [record for record in exported(storage) if record not in records.values()]
    changed = [changed_in_every_field(record) for record in records.values()]
    asked: list[tuple[Record, Record]] = []

    def overwrite_and_note(standing: Record, incoming: Record) -> Record:
        asked.append((standing, incoming))
        return incoming

    assert storage.insert_records(changed, PLAIN_MARK, overwrite_and_note) == len(changed) == 5

    assert list(dict.fromkeys(asked)) == list(zip(records.values(), changed, strict=True))
    assert in_order(storage.scan_records(None, 100).records) == in_order([*others, *changed])


def test_a_token_that_was_written_over_is_found_by_what_it_says_now(storage: RecordRepository) -> None:
    tenant = new_tenant(storage)
    storage.import_records([crafted_token(1, tenant, prefix="wasthis0", created_at=2**50)])
    storage.import_records([crafted_token(2, tenant, prefix="another0", created_at=5)])
    now = replace(crafted_token(1, tenant, prefix="isthis00", created_at=1), expires_at=9)

    assert storage.insert_records([now], PLAIN_MARK, overwrite) == 1

    assert storage.read_api_token(now.hash) == now
    assert storage.find_api_token_records("wasthis0") == []
    assert storage.find_api_token_records("isthis00") == [now]
    for of_tenant in (tenant, None):
        listed = storage.scan_api_tokens(of_tenant, None, 10)
        assert [token.created_at for token in listed] == sorted(token.created_at for token in listed)
        assert listed[0] == now
        assert len(listed) == 3
    assert storage.check().ok
    assert storage.delete_api_token(now.hash) is True
    assert storage.find_api_token_records("isthis00") == []
    assert len(storage.scan_api_tokens(None, None, 10)) == 2
    assert storage.check().ok


def test_what_a_rule_leaves_stays_and_is_not_counted(storage: RecordRepository) -> None:
    records = one_of_each(storage)
    before = exported(storage)
    changed = [changed_in_every_field(record) for record in records.values()]

    assert storage.insert_records([*changed, *crafted_tenant(1)], PLAIN_MARK, leave) == 2

    assert exported(storage) == in_order([*before, *crafted_tenant(1)])


def test_a_rule_that_raises_leaves_nothing_written(storage: RecordRepository) -> None:
    records = one_of_each(storage)
    before = exported(storage)

    def fail_at_the_last(standing: Record, incoming: Record) -> Record:
        if isinstance(incoming, AuthCodeRecord):
            raise KeyError("the rule's own error")
        return incoming

    with pytest.raises(KeyError):
        storage.insert_records(
            [*crafted_tenant(1), *map(changed_in_every_field, records.values())], PLAIN_MARK, fail_at_the_last
        )

    assert exported(storage) == before


def test_a_rule_is_asked_about_a_record_that_came_before_in_the_same_call(storage: RecordRepository) -> None:
    tenant, token = crafted_tenant(1)
    second, third = (replace(crafted_token(1), description=name) for name in ("second", "third"))

    assert storage.insert_records([tenant, token, second, third], PLAIN_MARK, overwrite) == 2
    assert storage.read_api_token(third.hash) == third
    assert storage.insert_records([tenant, token, second], PLAIN_MARK, overwrite) == 2
    assert storage.read_api_token(third.hash) == second


def test_a_token_that_is_written_over_raises_the_signal(storage: RecordRepository) -> None:
    records = one_of_each(storage)
    token = records.pop(APITokenRecord)
    signal = storage.change_signal()

    storage.insert_records([*map(changed_in_every_field, records.values()), *crafted_tenant(1)], PLAIN_MARK, overwrite)
    storage.insert_records([token], PLAIN_MARK, leave)
    assert storage.change_signal() == signal

    storage.insert_records([changed_in_every_field(token)], PLAIN_MARK, overwrite)
    assert storage.change_signal() != signal


def test_a_rule_sees_every_record_of_a_long_call(storage: RecordRepository) -> None:
    records = [record for number in range(700) for record in crafted_tenant(number)]
    storage.import_records(records)
    asked: list[Record] = []

    def note(standing: Record, incoming: Record) -> None:
        assert standing == incoming
        asked.append(incoming)

    assert storage.insert_records([*records, *crafted_tenant(700)], PLAIN_MARK, note) == 2
    assert asked == records
