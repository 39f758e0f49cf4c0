"""Calls that meet, and passes that continue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from fusion_store import (
    SYSTEM_TENANT,
    AlreadyExists,
    CredentialType,
    EncryptionError,
    OAuthTokenData,
    ServiceCredentials,
    TenantNotFound,
    TokenNotFound,
)
from tests.leveldb.conftest import Opener, raw

pytest.importorskip("plyvel")

from fusion_store.backend import (
    ENCRYPTION_MARK,
    PLAIN_MARK,
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    Record,
    SecretRecord,
    SecretState,
    TenantRecord,
)
from fusion_store_leveldb import LevelDBTokenRepository
from fusion_store_leveldb import _keys as keys
from fusion_store_leveldb._handle import Stripes

HOUR = timedelta(hours=1)


def pause_after_reading(repository: LevelDBTokenRepository, meanwhile: Callable[[], object]) -> threading.Thread:
    """Start ``meanwhile`` in a thread once the next call has read the state and before it writes."""
    session = repository._handle._session
    assert session is not None
    thread = threading.Thread(target=meanwhile)
    write = session.write

    def paused(*arguments: object, **options: object) -> None:
        session.write = write  # type: ignore[method-assign]
        thread.start()
        thread.join(0.2)
        write(*arguments, **options)  # type: ignore[arg-type]

    session.write = paused  # type: ignore[method-assign]
    return thread


WRITES: dict[str, Callable[[LevelDBTokenRepository, str], object]] = {
    "api token": lambda r, tenant: r.add_api_token(tenant_hash=tenant),
    "rotation": lambda r, tenant: r.rotate_api_token(tenant),
    "oauth token": lambda r, tenant: r.store_oauth_token(tenant, "s", OAuthTokenData("x")),
    "credentials": lambda r, tenant: r.store_credentials(
        tenant, "s", ServiceCredentials(CredentialType.BEARER, {"key": "x"})
    ),
    "claim": lambda r, tenant: r.claim_refresh(tenant, "s", ttl=HOUR),
    "auth code": lambda r, tenant: r.create_auth_code(tenant, "s", ttl=HOUR),
    "last used": lambda r, tenant: r.touch_api_tokens({tenant: 5}),
    "import": lambda r, tenant: r.insert_records([CounterRecord(Place(tenant, Kind.OAUTH, "t"))], PLAIN_MARK),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_had_begun_leaves_nothing_under_a_deleted_tenant(open_store: Opener, name: str) -> None:
    repository = open_store()
    tenant = repository.add_api_token().hash
    deletion = pause_after_reading(repository, lambda: repository.delete_tenant(tenant))
    WRITES[name](repository, tenant)
    deletion.join()

    assert repository.get_tenant(tenant) is None
    assert not any(bytes.fromhex(tenant) in key + value for key, value in raw(repository))
    if name not in ("last used", "rotation"):
        with pytest.raises(TenantNotFound):
            WRITES[name](repository, tenant)


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_meets_a_deletion_comes_too_late(open_store: Opener, name: str) -> None:
    repository = open_store()
    tenant = repository.add_api_token().hash
    errors: list[Exception] = []

    def write() -> None:
        try:
            WRITES[name](repository, tenant)
        except (TenantNotFound, TokenNotFound) as error:
            errors.append(error)

    writer = pause_after_reading(repository, write)
    repository.delete_tenant(tenant)
    writer.join()

    assert bool(errors) == (name != "last used")
    assert not any(bytes.fromhex(tenant) in key + value for key, value in raw(repository))


def test_one_of_many_gets_the_claim_the_code_and_the_version(open_store: Opener) -> None:
    repository = open_store()
    tenant = repository.add_api_token().hash
    code = repository.create_auth_code(tenant, "s", ttl=HOUR)
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(lambda _: repository.claim_refresh(tenant, "s", ttl=HOUR), range(16)))
        codes = list(pool.map(lambda _: repository.redeem_auth_code(code), range(16)))
        versions = list(
            pool.map(lambda _: repository.store_oauth_token(tenant, "s", OAuthTokenData("x")).version, range(16))
        )
    assert sum(claim is not None for claim in claims) == 1
    assert sum(found is not None for found in codes) == 1
    assert sorted(versions) == list(range(1, 17))


def test_a_change_is_not_written_under_a_tenant_that_does_not_stand(open_store: Opener) -> None:
    repository = open_store()
    place = Place("ab" * 32, Kind.OAUTH, "s")
    with pytest.raises(TenantNotFound):
        repository.change_secret(place, lambda state: SecretState(True, None, state.counter), PLAIN_MARK)
    assert not any(bytes.fromhex(place.tenant_hash) in key for key, _ in raw(repository))


def test_one_hash_is_imported_under_one_tenant_only(open_store: Opener) -> None:
    repository = open_store()
    token = APITokenRecord("cd" * 32, "abcdefgh", "11" * 32, "", (), 0, None, None)
    code = AuthCodeRecord("ef" * 32, Place("11" * 32, Kind.AUTH_CODE, "s"), b"", 0)
    repository.insert_records([TenantRecord("11" * 32, 0), TenantRecord("22" * 32, 0)], PLAIN_MARK)
    for n in ("11", "22"):
        records: list[Record] = [
            APITokenRecord(token.hash, token.prefix, n * 32, "", (), 0, None, None),
            AuthCodeRecord(code.hash, Place(n * 32, Kind.AUTH_CODE, "s"), b"", 0),
        ]
        for record in records:
            if n == "11":
                assert repository.insert_records([record], PLAIN_MARK) == 1
            else:
                with pytest.raises(AlreadyExists):
                    repository.insert_records([record], PLAIN_MARK)
    assert list(repository.find_damage()) == []


def test_two_imports_of_one_hash_at_once_are_told_apart(open_store: Opener) -> None:
    repository = open_store()
    tenants = [TenantRecord(n * 32, 0) for n in ("11", "22")]
    tokens = [APITokenRecord("cd" * 32, "abcdefgh", t.tenant_hash, "", (), 0, None, None) for t in tenants]
    repository.insert_records(tenants, PLAIN_MARK)
    errors: list[Exception] = []

    def import_other() -> None:
        try:
            repository.insert_records(tokens[1:], PLAIN_MARK)
        except AlreadyExists as error:
            errors.append(error)

    other = pause_after_reading(repository, import_other)
    repository.insert_records(tokens[:1], PLAIN_MARK)
    other.join()
    assert len(errors) == 1
    assert list(repository.find_damage()) == []


def test_two_modes_are_never_settled_at_once(open_store: Opener) -> None:
    repository = open_store()
    sealed = b"sealed:by a layer"
    errors: list[Exception] = []

    def add_plain() -> None:
        try:
            repository.insert_records([TenantRecord("22" * 32, 0)], PLAIN_MARK)
        except EncryptionError as error:
            errors.append(error)

    other = pause_after_reading(repository, add_plain)
    repository.insert_records([TenantRecord("11" * 32, 0)], sealed)
    other.join()
    assert len(errors) == 1
    assert repository.get_tenant("22" * 32) is None


def test_the_mark_is_not_changed_while_a_record_of_its_mode_is_added(open_store: Opener) -> None:
    repository = open_store()
    repository.insert_records([TenantRecord("11" * 32, 0)], PLAIN_MARK)
    change = threading.Thread(target=repository.write_mark, args=(ENCRYPTION_MARK, b"sealed"))
    with repository._adding(PLAIN_MARK, "22" * 32):
        change.start()
        change.join(0.2)
        assert change.is_alive()
    change.join()
    assert repository.read_mark(ENCRYPTION_MARK) == b"sealed"


def test_stripes_are_taken_in_one_order(open_store: Opener) -> None:
    stripes = Stripes()
    hashes = [f"{n:02x}" * 32 for n in range(16)]

    def hold(turn: int) -> None:
        for _ in range(200):
            with stripes.hold(*(hashes if turn % 2 else reversed(hashes)), hashes[0]):
                pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, range(8), timeout=30))


def test_a_purge_goes_on_where_the_last_call_was_full(open_store: Opener) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    repository = open_store(clock=lambda: now)
    for _ in range(5):
        tenant = repository.add_api_token(expires_at=now + HOUR).hash
        for n in range(3):
            repository.add_api_token(tenant_hash=tenant, expires_at=now + HOUR)
            repository.create_auth_code(tenant, "s", ttl=HOUR)
            repository.claim_refresh(tenant, f"{n}", ttl=HOUR)
            repository.store_credentials(
                tenant, f"{n}", ServiceCredentials(CredentialType.BEARER, {}, expires_at=now + HOUR)
            )
    late = int((now + 2 * HOUR).timestamp() * 1_000_000)
    totals = {"codes": 0, "claims": 0, "credentials": 0, "api_tokens": 0}
    calls = 0
    while any((purged := repository.purge_records(late, 4)).values()):
        assert all(count <= 4 for count in purged.values())
        totals = {name: count + purged[name] for name, count in totals.items()}
        calls += 1
    assert totals == dict.fromkeys(totals, 15)
    assert calls >= 4
    assert repository.stats().api_tokens == 5
    assert repository.check().ok

    tenant = repository.list_tenants()[0].tenant_hash
    repository.insert_records([AuthCodeRecord("ab" * 32, Place(tenant, Kind.AUTH_CODE, "s"), b"", late)], PLAIN_MARK)
    assert repository.purge_records(late, 4)["codes"] == 1


def test_a_replaced_payload_changes_nothing_else(open_store: Opener) -> None:
    repository = open_store()
    place = Place(SYSTEM_TENANT, Kind.OAUTH, "s")
    record = SecretRecord(place, b"1", None, 1, 2, 3)
    code = AuthCodeRecord("ab" * 32, Place(SYSTEM_TENANT, Kind.AUTH_CODE, "s"), b"1", 5)
    repository.insert_records([record, code], PLAIN_MARK)
    for standing in (record, code):
        assert repository.replace_payloads([(standing, b"2")])
        assert not repository.replace_payloads([(standing, b"3")])
    assert repository.read_secret(place) == SecretRecord(place, b"2", None, 1, 2, 3)
    assert repository.take_auth_code(code.hash) == AuthCodeRecord(code.hash, code.place, b"2", 5)
    assert raw(repository).get(keys.code_by_hash(code.hash)) is None
