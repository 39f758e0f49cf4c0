"""Keys and values: what lies where, what comes back, what is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_store import (
    SYSTEM_TENANT,
    CorruptRecord,
    CorruptStore,
    CredentialType,
    OAuthTokenData,
    ServiceCredentials,
    get_repository,
)
from tests.leveldb.conftest import Opener, raw

pytest.importorskip("plyvel")

from fusion_store.backend import (
    PLAIN_MARK,
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    Record,
    SecretRecord,
    StoreURL,
    TenantRecord,
)
from fusion_store_leveldb import LevelDBTokenRepository, backend
from fusion_store_leveldb import _codec as codec
from fusion_store_leveldb import _keys as keys

HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
NAMES = st.text(max_size=60)
TIMES = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
PLACES = st.builds(
    Place, HASHES, st.sampled_from([Kind.OAUTH, Kind.CREDENTIAL]), NAMES, st.sampled_from(["", *CredentialType])
)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(TenantRecord, HASHES, TIMES),
    st.builds(
        APITokenRecord,
        HASHES,
        st.from_regex(r"\A[0-9A-Za-z]{1,8}\Z"),
        HASHES,
        NAMES,
        st.lists(NAMES).map(tuple),
        TIMES,
        st.none() | TIMES,
        st.none() | TIMES,
    ),
    st.builds(SecretRecord, PLACES, st.binary(), st.none() | TIMES, TIMES, TIMES, st.integers(0, 2**63 - 1)),
    st.builds(CounterRecord, PLACES, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.none() | st.integers(1)),
    st.builds(AuthCodeRecord, HASHES, st.builds(Place, HASHES, st.just(Kind.AUTH_CODE), NAMES), st.binary(), TIMES),
)


@given(st.builds(msgspec.structs.replace, RECORDS))
def test_a_record_comes_back_from_its_key_and_value(record: Record) -> None:
    if isinstance(record, CounterRecord) and (record.claim_fence or 0) > 2**63:
        record = record.without_claim()
    assert codec.decode(keys.of_record(record), codec.encode(record)) == record


@given(st.lists(st.tuples(TIMES, HASHES), max_size=20))
def test_tokens_lie_in_the_order_of_their_times_and_hashes(tokens: list[tuple[int, str]]) -> None:
    assert sorted(tokens) == sorted(tokens, key=lambda token: keys.token_by_age(*token))
    assert sorted(tokens) == sorted(tokens, key=lambda token: keys.token("ab" * 32, *token))


@given(PLACES, PLACES)
def test_no_place_lies_in_the_range_of_another(one: Place, other: Place) -> None:
    assert (keys.secret(one) == keys.secret(other)) == (one == other)
    inside = keys.secrets_range(one.tenant_hash, one.kind)
    same = (one.tenant_hash, one.kind) == (other.tenant_hash, other.kind)
    assert (inside.start <= keys.secret(other) < inside.stop) == same
    tenant = keys.tenant_range(one.tenant_hash)
    assert (tenant.start <= keys.secret(other) < tenant.stop) == (one.tenant_hash == other.tenant_hash)
    assert tenant.start <= keys.counter(one) < tenant.stop


@given(HASHES, st.integers(0, 64), HASHES)
def test_a_hash_prefix_range_holds_what_begins_with_it(hash: str, length: int, other: str) -> None:
    wanted = keys.hash_prefix_range(keys.TOKENS_BY_HASH, hash[:length])
    assert wanted is not None
    assert wanted.start <= keys.token_by_hash(hash) < wanted.stop
    assert (wanted.start <= keys.token_by_hash(other) < wanted.stop) == other.startswith(hash[:length])


def test_prefixes_of_hashes_of_any_byte_are_found(open_store: Opener) -> None:
    repository = open_store()
    for hash in ("ff" * 32, "fe" * 32, "00" * 31 + "01", "0f" * 32):
        tenant = TenantRecord(hash, 0)
        token = APITokenRecord(hash, "abcdefgh" if hash[0] == "f" else "abcd", hash, "", (), -5, None, None)
        repository.insert_records([tenant, token], PLAIN_MARK)
    assert [token.hash[:2] for token in repository.find_api_tokens("abcd")] == ["00", "0f", "fe", "ff"]
    assert [token.hash[:2] for token in repository.find_api_tokens("abcdefgh")] == ["fe", "ff"]
    assert [token.hash[:2] for token in repository.find_api_tokens("fffff")] == ["ff"]
    assert repository.resolve_tenant("ffff") == "ff" * 32
    assert [tenant.tenant_id[:2] for tenant in repository.list_tenants()] == ["00", "0f", "fe", "ff"]
    assert repository.find_api_tokens("ABCD") == []
    assert repository.delete_tenant("ff" * 32)
    assert repository.check().ok


def store(repository: LevelDBTokenRepository, *services: str, expires_at: datetime | None = None) -> str:
    tenant = repository.add_api_token("mine", scopes=["read"]).hash
    for service in services:
        repository.store_oauth_token(tenant, service, OAuthTokenData(service, expires_at=expires_at))
        repository.store_credentials(tenant, service, ServiceCredentials(CredentialType.API_KEY, {"key": service}))
        repository.create_auth_code(tenant, service, ttl=timedelta(hours=1))
        assert repository.claim_refresh(tenant, service, ttl=timedelta(hours=1))
    return tenant


def test_a_value_at_another_places_key_is_read_as_of_that_place(open_store: Opener) -> None:
    repository = open_store()
    one, other = store(repository, "one"), store(repository, "other")
    source, target = Place(one, Kind.OAUTH, "one"), Place(other, Kind.OAUTH, "other")
    database = raw(repository)
    database.put(keys.secret(target), database.get(keys.secret(source)))

    moved, original = repository.read_secret(target), repository.read_secret(source)
    assert moved is not None
    assert original is not None
    assert moved.place == target
    assert moved.payload == original.payload
    with pytest.raises(CorruptRecord):
        repository.get_oauth_token(other, "other")


def test_an_auth_codes_value_at_another_codes_key_is_read_as_that_code(open_store: Opener) -> None:
    repository = open_store()
    one, other = (AuthCodeRecord(n * 64, Place(SYSTEM_TENANT, Kind.AUTH_CODE, n), n.encode(), 2**50) for n in "12")
    repository.insert_auth_code(one, PLAIN_MARK)
    repository.insert_auth_code(other, PLAIN_MARK)
    raw(repository).put(keys.code(other.hash, other.place), codec.encode(one))
    assert repository.take_auth_code(other.hash) == msgspec.structs.replace(other, payload=b"1")


def test_an_altered_expiry_comes_back_altered(open_store: Opener) -> None:
    repository = open_store()
    tenant = store(repository, "s", expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    place = Place(tenant, Kind.OAUTH, "s")
    standing = repository.read_secret(place)
    assert standing is not None
    altered = msgspec.structs.replace(standing, expires_at=None, payload=b"other")
    raw(repository).put(keys.secret(place), codec.encode(altered))
    assert repository.read_secret(place) == altered


def values(repository: LevelDBTokenRepository, tenant: str) -> list[tuple[bytes, bytes]]:
    wanted = keys.tenant_range(tenant)
    return list(raw(repository).iterator(start=wanted.start, stop=wanted.stop))


def test_an_altered_field_outside_the_payload_is_noticed_and_named(open_store: Opener) -> None:
    repository = open_store()
    tenant = store(repository, "service")
    kinds = set()
    for key, value in values(repository, tenant):
        with pytest.raises(CorruptRecord):
            codec.decode(key, b"\x02" + value[1:])
        fields = msgspec.msgpack.decode(value[1:])
        # A secret's payload and expiry, a token's last use, and all of a code are no business of the checksum.
        free = {1: {4}, 2: {1, 2}, 4: {0, 1}}.get(keys.section_of(key), set())
        for at in set(range(len(fields))) - free:
            changed = [*fields]
            changed[at] = changed[at] + 1 if isinstance(changed[at], int) else "other"
            if isinstance(fields[at], list):
                changed[at] = ["other"]
            with pytest.raises(CorruptRecord) as caught:
                codec.decode(key, value[:1] + msgspec.msgpack.encode(changed))
            assert caught.value.tenant_hash == tenant
            assert caught.value.service == ("service" if keys.section_of(key) in (2, 3) else "")
            kinds.add(caught.value.kind)
    assert kinds == {"tenant", "api_token", "oauth", "credential", "counter"}


@pytest.mark.parametrize("damage", [b"", b"\x01", b"\x02\x90", b"\x01\x90", b"\x01\xc1", b"\x01\x80", b"\xff" * 40])
def test_unreadable_values_are_corrupt_records_and_don_t_spread(open_store: Opener, damage: bytes) -> None:
    repository = open_store()
    sound, broken = store(repository, "a", "b"), store(repository, "a", "b")
    before = [record for record in repository.scan_records(None, 10).records if broken not in str(record)]
    token = repository.list_api_tokens(tenant_hash=broken)[0]
    damaged = values(repository, broken)
    for key, _ in damaged:
        raw(repository).put(key, damage)

    calls: list[Any] = [
        lambda: repository.list_api_tokens(tenant_hash=broken),
        lambda: repository.get_oauth_token(broken, "a"),
        lambda: repository.list_oauth_tokens(broken),
        lambda: repository.list_credentials(broken),
        lambda: repository.store_oauth_token(broken, "a", OAuthTokenData("x")),
        lambda: list(repository.export_records()),
    ]
    for call in calls:
        with pytest.raises(CorruptRecord):
            call()
    report = repository.check()
    assert len(report.corrupt) == len(damaged)
    assert {place.tenant_hash for place in report.corrupt} == {broken}
    repository.purge_expired()
    assert repository.stats().api_tokens == 2

    repository.touch_api_tokens({token.hash: 1})
    assert repository.delete_api_token(token.hash)
    assert repository.check().ok
    assert [*repository.scan_records(None, 10).records] == before
    assert repository.get_tenant(sound) is not None


@pytest.mark.parametrize("corrupt", [False, True])
def test_nothing_in_the_database_names_a_deleted_tenant(open_store: Opener, corrupt: bool) -> None:
    repository = open_store()
    bystander, tenant = store(repository, "a", "b"), store(repository, "a", "b")
    hashes = [tenant, *(repository.add_api_token(tenant_hash=tenant).hash for _ in range(3))]
    hashes.append(repository.rotate_api_token(hashes[1], grace=timedelta(hours=1)).hash)
    hashes.append(repository.rotate_api_token(hashes[2]).hash)
    keep = {key for key, _ in raw(repository) if bytes.fromhex(bystander) in key}
    if corrupt:
        for key, _ in values(repository, tenant):
            raw(repository).put(key, b"\x01damaged")

    repository.delete_tenant(tenant)
    left = dict(raw(repository))
    for hash in hashes:
        for key, value in left.items():
            assert bytes.fromhex(hash) not in key + value
            assert hash.encode() not in key + value
    assert keep <= set(left)
    assert repository.check().ok


def test_a_rotated_or_purged_token_leaves_no_entry(open_store: Opener) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    repository = open_store(clock=lambda: now)
    first = repository.add_api_token()
    second = repository.rotate_api_token(first.hash)
    third = repository.rotate_api_token(second.hash, grace=timedelta(hours=1))
    now += timedelta(hours=2)
    assert repository.purge_expired()["api_tokens"] == 1
    for gone in (first, second):
        assert not any(bytes.fromhex(gone.hash) in key for key, _ in raw(repository) if key[:1] != b"t")
        assert repository.find_api_tokens(gone.metadata.prefix) == []
    assert repository.check().ok
    assert repository.resolve_api_token(third.metadata.prefix).hash == third.hash


@contextmanager
def damage(repository: LevelDBTokenRepository, key: bytes, value: bytes | None) -> Iterator[None]:
    database = raw(repository)
    before = database.get(key)
    database.delete(key) if value is None else database.put(key, value)
    yield
    database.delete(key) if before is None else database.put(key, before)


def test_damage_to_indexes_is_reported(open_store: Opener) -> None:
    repository = open_store()
    tenant, other = store(repository, "s"), store(repository, "s")
    token = repository.read_api_token(tenant)
    assert token is not None
    other_token = repository.read_api_token(other)
    assert other_token is not None
    code = next(r for r in repository.scan_records(None, 10).records if isinstance(r, AuthCodeRecord))
    entries = [*keys.of_token_indexes(token), keys.code_by_hash(code.hash)]
    records = [keys.of_record(token), keys.of_record(code)]
    assert repository.check().ok

    for key in [*entries, *records]:
        with damage(repository, key, None):
            assert not repository.check().ok, key
            repository.list_api_tokens()
            repository.find_api_tokens(token.prefix)
    for key in entries:
        with damage(repository, key, keys.of_record(other_token)):
            assert not repository.check().ok, key
        with damage(repository, key, b"nonsense"):
            assert not repository.check().ok, key
    for key in keys.of_token_indexes(msgspec.structs.replace(token, hash="ab" * 32)):
        with damage(repository, key, keys.of_record(token)):
            assert not repository.check().ok, key
    with damage(repository, keys.token_by_hash(token.hash), keys.of_record(other_token)):
        with pytest.raises(CorruptRecord):
            repository.get_api_token(token.hash)
        with pytest.raises(CorruptRecord):
            repository.delete_api_token(token.hash)
    with damage(repository, keys.tenant(SYSTEM_TENANT), None):
        assert not repository.check().ok
    for key in (b"t\x05", keys.tenant(tenant) + b"x", keys.tenant(tenant)[:-1] + b"\x09", keys.tenant(tenant)[:-1]):
        with damage(repository, key, b"\x01"):
            assert not repository.check().ok, key
    assert repository.check().ok


def test_a_page_does_not_begin_again_at_a_displaced_index_entry(open_store: Opener) -> None:
    repository = open_store()
    token = repository.read_api_token(store(repository, "s"))
    assert token is not None
    entry = keys.token_by_age(token.created_at, token.hash)
    for displaced in (keys.token_by_age(token.created_at + 1, token.hash), entry + b"\0", b"o\xff"):
        with damage(repository, displaced, keys.of_record(token)):
            with pytest.raises(CorruptRecord, match="an entry names another record"):
                list(repository.iter_api_tokens())
            assert not repository.check().ok
    with (
        damage(repository, keys.token_by_prefix(token.prefix, "ab" * 32), keys.of_record(token)),
        pytest.raises(CorruptRecord, match="an entry names another record"),
    ):
        repository.find_api_tokens(token.prefix)


def test_an_index_entry_has_a_copy_of_its_token_that_is_checked(open_store: Opener) -> None:
    repository = open_store()
    issued = repository.add_api_token("mine", scopes=["read"])
    entry, token = keys.token_by_hash(issued.hash), repository.read_api_token(issued.hash)
    assert token is not None
    key, copy = keys.split_entry(raw(repository).get(entry))
    assert copy == raw(repository).get(key) == codec.encode(token)

    for other in (
        copy[:-1],
        b"\x02" + copy[1:],
        codec.encode(msgspec.structs.replace(token, description="other")),
        codec.encode(msgspec.structs.replace(token, last_used=1)),
    ):
        with damage(repository, entry, key + other):
            assert not repository.check().ok
    with damage(repository, entry, key + copy[:-1]), pytest.raises(CorruptRecord):
        repository.validate_api_token(issued.token)
    with damage(repository, key, b"unreadable"):
        assert repository.get_api_token(issued.hash) == issued.metadata


def test_a_last_use_that_is_no_moment_is_reported(open_store: Opener) -> None:
    repository = open_store()
    issued = repository.add_api_token()
    token = repository.read_api_token(issued.hash)
    assert token is not None
    altered = codec.encode(msgspec.structs.replace(token, last_used=2**62))
    with damage(repository, keys.of_record(token), altered):
        with pytest.raises(CorruptRecord):
            list(repository.iter_api_tokens())
        assert not repository.check().ok
    with damage(repository, keys.token_by_hash(token.hash), keys.of_record(token) + altered):
        with pytest.raises(CorruptRecord):
            repository.validate_api_token(issued.token)
        assert not repository.check().ok


def test_an_index_entry_without_a_copy_serves_and_gets_one_when_its_token_is_used(open_store: Opener) -> None:
    repository = open_store()
    issued = repository.add_api_token()
    entry = keys.token_by_hash(issued.hash)
    key, _ = keys.split_entry(raw(repository).get(entry))
    raw(repository).put(entry, key)

    assert repository.find_api_tokens(issued.hash) == [issued.metadata]
    assert repository.validate_api_token(issued.token) == issued.metadata
    assert repository.check().ok
    repository.flush()
    assert keys.split_entry(raw(repository).get(entry)) == (key, raw(repository).get(key))
    assert repository.delete_api_token(issued.hash)
    assert raw(repository).get(entry) is None


def test_schema_0001_has_no_copies_in_its_index(open_store: Opener, folder: Path) -> None:
    with open_store() as repository:
        issued = repository.add_api_token()
    url = StoreURL.parse(f"leveldb:///{folder}")
    backend.downgrade_schema(url, "0001")
    import plyvel

    with closing(plyvel.DB(str(folder))) as database:
        assert len(database.get(keys.token_by_hash(issued.hash))) == keys.TOKEN_KEY_BYTES
    backend.upgrade_schema(url)
    with open_store() as repository:
        assert repository.validate_api_token(issued.token) == issued.metadata


def test_records_without_a_tenant_are_reported_and_not_exported(open_store: Opener) -> None:
    repository = open_store()
    tenant = store(repository, "s")
    store(repository, "s")
    with damage(repository, keys.tenant(tenant), None):
        corrupt = repository.scan_records(None, 10).corrupt
        assert {place.reason for place in corrupt} == {"belongs to no tenant"}
        assert {place.tenant_hash for place in corrupt} == {tenant}
        assert len(repository.list_tenants()) == 1
    pages = [repository.scan_records(None, 1)]
    while pages[-1].after is not None:
        pages.append(repository.scan_records(pages[-1].after, 1))
    assert len(pages) == 3
    assert sum((page.records for page in pages), ()) == repository.scan_records(None, 10).records


def test_a_flipped_bit_in_a_table_is_noticed_and_the_rest_is_checked(open_store: Opener) -> None:
    repository = open_store()
    tenants = [store(repository, "a", "b") for _ in range(10)]
    raw(repository).compact_range()
    repository.close()
    table = max(repository._handle.folder.glob("*.ldb"), key=lambda path: path.stat().st_size)
    data = bytearray(table.read_bytes())
    data[len(data) // 2] ^= 1
    table.write_bytes(data)

    repository = open_store()
    with pytest.raises(CorruptStore):
        assert [(repository.get_api_token(tenant), repository.list_oauth_tokens(tenant)) for tenant in tenants]
    report = repository.check()
    assert not report.ok
    assert report.records > 4 * len(tenants)
    assert {place.kind for place in report.corrupt} >= {"store"}


def test_a_flipped_bit_that_leveldb_could_read_over_is_noticed(open_store: Opener) -> None:
    repository = open_store()
    record = SecretRecord(Place(SYSTEM_TENANT, Kind.OAUTH, "s"), os.urandom(30_000), None, 1, 2, 3)
    repository.insert_records([record], PLAIN_MARK)
    raw(repository).compact_range()
    repository.close()
    table = max(repository._handle.folder.glob("*.ldb"), key=lambda path: path.stat().st_size)
    data = bytearray(table.read_bytes())
    data[len(data) // 2] ^= 1
    table.write_bytes(data)

    repository = open_store()
    with pytest.raises(CorruptStore):
        repository.read_secret(record.place)
    with pytest.raises(CorruptStore):
        repository.scan_secrets(SYSTEM_TENANT, Kind.OAUTH)
    assert not repository.check().ok


def test_an_import_checks_every_tenant_and_place(open_store: Opener) -> None:
    repository = open_store()
    place = Place("ab" * 32, Kind.OAUTH, "s")
    claimed = CounterRecord(place, 3, 2, 2, "someone", 2**60)
    assert repository.insert_records([TenantRecord(place.tenant_hash, 5), claimed.without_claim()], PLAIN_MARK) == 2
    assert repository.insert_records([TenantRecord(place.tenant_hash, 5), claimed], PLAIN_MARK) == 0


def test_marks_are_kept_apart_by_their_whole_name(open_store: Opener) -> None:
    repository = open_store()
    repository.write_mark("a", b"1")
    repository.write_mark("ab", b"2")
    repository.write_mark("", b"3")
    assert [repository.read_mark(name) for name in ("a", "ab", "", "b")] == [b"1", b"2", b"3", None]
    repository.write_mark("a", None)
    assert [repository.read_mark(name) for name in ("a", "ab")] == [None, b"2"]


def test_a_lost_schema_version_is_a_corrupt_store(open_store: Opener) -> None:
    repository = open_store()
    raw(repository).delete(keys.SCHEMA)
    with pytest.raises(CorruptStore):
        repository.schema_version()
    repository.close()
    with pytest.raises(CorruptStore):
        open_store()


def test_a_damaged_write_ahead_log_is_reported_and_not_skipped(tmp_path: Path) -> None:
    url = f"leveldb:///{tmp_path}/vault"
    with get_repository(url) as repository:
        for number in range(20):
            repository.add_api_token(f"token {number}")
    (log,) = (tmp_path / "vault").glob("*.log")
    damaged = bytearray(log.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    log.write_bytes(damaged)
    with pytest.raises(CorruptStore):
        get_repository(url)
