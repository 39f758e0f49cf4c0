"""Moving a store from key to key, and in and out of encryption."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from fusion_store import (
    ConfigError,
    Conflict,
    CorruptRecord,
    CredentialType,
    NotEncrypted,
    OAuthTokenData,
    ServiceCredentials,
    Tampered,
    TokenRepository,
    WrongKey,
    get_repository,
)
from fusion_store._registry import find_backend
from fusion_store.backend import (
    ENCRYPTION_MARK,
    PLAIN_MARK,
    AuthCodeRecord,
    Kind,
    Mode,
    OpenOptions,
    RecordRepository,
    SecretRecord,
)
from fusion_store.layers import Cipher, Key, Keyring
from fusion_store.layers.rekey import convert, count_payloads, count_seals, rotate_keys

OLD, NEW = Key.generate(), Key.generate()
URLS = ["memory://{}", "sqlite:///{}.db"] + (["leveldb:///{}"] if find_spec("plyvel") else [])


@pytest.fixture(params=URLS, ids=lambda url: url.partition(":")[0])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    template: str = request.param
    return template.format(uuid4().hex if template.startswith("memory") else tmp_path / "vault")


def storage_of(url: str) -> RecordRepository:
    backend, parsed = find_backend(url)
    return backend.open(parsed, OpenOptions())


def fill(repository: TokenRepository, tenants: int = 3) -> list[str]:
    hashes = [repository.add_api_token(f"{number}").hash for number in range(tenants)]
    for tenant in hashes:
        for service in ("github", "mail"):
            repository.store_oauth_token(tenant, service, OAuthTokenData(f"access {tenant} {service}"))
            repository.store_credentials(
                tenant, service, ServiceCredentials(CredentialType.API_KEY, {"key": f"{tenant} {service}"})
            )
        repository.create_auth_code(tenant, "code", ttl=timedelta(days=1), payload={"of": tenant})
    return hashes


def assert_readable(repository: TokenRepository, hashes: list[str]) -> None:
    for tenant in hashes:
        tokens, credentials = repository.list_oauth_tokens(tenant), repository.list_credentials(tenant)
        assert {service: token.access_token for service, token in tokens.items()} == {
            service: f"access {tenant} {service}" for service in ("github", "mail")
        }
        assert [value.data for value in credentials.values()] == [
            {"key": f"{tenant} github"},
            {"key": f"{tenant} mail"},
        ]


def raw_records(storage: RecordRepository) -> list[SecretRecord | AuthCodeRecord]:
    page = storage.scan_records(None, 1000)
    assert page.after is None
    return [record for record in page.records if isinstance(record, SecretRecord | AuthCodeRecord)]


@pytest.fixture
def sealed(url: str) -> list[str]:
    with get_repository(url, encryption_keys=Keyring([OLD])) as repository:
        return fill(repository)


def test_rotation_seals_everything_under_the_first_key(url: str, sealed: list[str]) -> None:
    with storage_of(url) as storage:
        before = raw_records(storage)
        outcome = rotate_keys(storage, Keyring([NEW, OLD]))
        after = raw_records(storage)

    assert outcome.changed == 3 * 5
    assert outcome.failed == []
    assert outcome.remaining.key_ids() == {NEW.key_id}
    assert outcome.unneeded == [OLD.key_id]
    assert [replace(record, payload=b"") for record in before] == [replace(record, payload=b"") for record in after]
    assert not {record.payload for record in before} & {record.payload for record in after}
    with get_repository(url, encryption_keys=Keyring([NEW])) as repository:
        assert_readable(repository, sealed)
        assert repository.check().ok
    with pytest.raises(WrongKey) as caught:
        get_repository(url, encryption_keys=Keyring([OLD]))
    assert caught.value.key_id == NEW.key_id


def test_rotation_moves_records_to_the_other_cipher_and_both_stand_in_one_store(url: str, sealed: list[str]) -> None:
    with get_repository(url, encryption_keys=Keyring([OLD], cipher=Cipher.AES_256_GCM)) as repository:
        repository.store_oauth_token(sealed[0], "github", OAuthTokenData(f"access {sealed[0]} github"))
        assert_readable(repository, sealed)
    with storage_of(url) as storage:
        assert {str(seal.cipher) for seal in count_seals(storage).seals if seal} == {"fernet", "aes-256-gcm"}
        outcome = rotate_keys(storage, Keyring([OLD], cipher=Cipher.AES_256_GCM))
        assert outcome.changed == 3 * 5 - 1
        assert {str(seal.cipher) for seal in count_seals(storage).seals if seal} == {"aes-256-gcm"}
    with get_repository(url, encryption_keys=Keyring([OLD])) as repository:
        assert_readable(repository, sealed)


def test_a_second_rotation_has_nothing_to_do(url: str, sealed: list[str]) -> None:
    with storage_of(url) as storage:
        rotate_keys(storage, Keyring([NEW, OLD]))
        assert rotate_keys(storage, Keyring([NEW, OLD])).changed == 0


def test_a_dry_run_changes_nothing(url: str, sealed: list[str]) -> None:
    with storage_of(url) as storage:
        before = raw_records(storage)
        assert rotate_keys(storage, Keyring([NEW, OLD]), dry_run=True).changed == 3 * 5
        assert convert(storage, Keyring([OLD]), to=Mode.PLAIN, dry_run=True).changed == 3 * 5
        assert raw_records(storage) == before


def test_an_old_key_that_still_seals_a_record_is_not_reported_as_unneeded(url: str, sealed: list[str]) -> None:
    third = Key.generate()
    with storage_of(url) as storage:
        rotate_keys(storage, Keyring([NEW, OLD]))
    with get_repository(url, encryption_keys=Keyring([third, NEW])) as repository:
        repository.store_oauth_token(sealed[0], "late", OAuthTokenData("x"))
    with storage_of(url) as storage:
        outcome = rotate_keys(storage, Keyring([NEW, OLD]))
    assert len(outcome.failed) == 1
    assert isinstance(outcome.failed[0], WrongKey)
    assert outcome.remaining.key_ids() == {NEW.key_id, third.key_id}
    with storage_of(url) as storage:
        outcome = rotate_keys(storage, Keyring([OLD, NEW]), dry_run=True)
    assert outcome.unneeded == []


def test_a_tampered_record_is_left_and_reported_and_keeps_every_key(url: str, sealed: list[str]) -> None:
    with storage_of(url) as storage:
        record = raw_records(storage)[0]
        storage.replace_payloads([(record, record.payload[:-1] + bytes([record.payload[-1] ^ 1]))])
        outcome = rotate_keys(storage, Keyring([NEW, OLD]))
    assert [type(error) for error in outcome.failed] == [Tampered]
    assert outcome.changed == 3 * 5 - 1
    assert outcome.unneeded == []


def test_counting_needs_no_keys(url: str, sealed: list[str]) -> None:
    with get_repository(url) as repository:
        assert isinstance(repository, RecordRepository)
        counts = count_seals(repository)
        assert counts.seals.total() == count_payloads(repository) + 1 == 3 * 5 + 1
    assert counts.key_ids() == {OLD.key_id}


def test_counting_finds_an_envelope_that_names_no_known_cipher(url: str, sealed: list[str]) -> None:
    with storage_of(url) as storage:
        record = raw_records(storage)[0]
        storage.replace_payloads([(record, record.payload[:12] + b"\x09" + record.payload[13:])])
        counts = count_seals(storage)
    assert counts.damaged == 1
    assert counts.seals.total() == 3 * 5


def test_a_plain_store_is_sealed_and_opened_again(url: str) -> None:
    with get_repository(url) as repository:
        hashes = fill(repository)
    with pytest.raises(NotEncrypted, match="convert"):
        get_repository(url, encryption_keys=Keyring([OLD]))
    with storage_of(url) as storage:
        assert count_seals(storage).seals == {None: 3 * 5}
        assert convert(storage, Keyring([OLD]), to=Mode.SEALED).changed == 3 * 5
        with pytest.raises(Conflict, match="already"):
            convert(storage, Keyring([OLD]), to=Mode.SEALED)
    with get_repository(url, encryption_keys=Keyring([OLD])) as repository:
        assert_readable(repository, hashes)
    with storage_of(url) as storage:
        with pytest.raises(WrongKey):
            convert(storage, Keyring([NEW]), to=Mode.PLAIN)
        assert convert(storage, Keyring([OLD]), to=Mode.PLAIN).changed == 3 * 5
    with get_repository(url) as repository:
        assert_readable(repository, hashes)
        assert repository.encryption == "plain"  # type: ignore[attr-defined]


def test_a_conversion_cut_short_takes_no_payloads_until_it_is_finished(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with get_repository(url) as repository:
        hashes = fill(repository)
    with storage_of(url) as storage:
        with monkeypatch.context() as patched:
            patched.setattr(
                type(storage), "replace_payloads", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
            )
            with pytest.raises(KeyboardInterrupt):
                convert(storage, Keyring([OLD]), to=Mode.SEALED)
        with pytest.raises(NotEncrypted, match="half converted"):
            storage.store_oauth_token(hashes[0], "new", OAuthTokenData("x"))
        with pytest.raises(Conflict, match="other way"):
            convert(storage, Keyring([OLD]), to=Mode.PLAIN)
        assert convert(storage, Keyring([OLD]), to=Mode.SEALED).changed == 3 * 5
    with get_repository(url, encryption_keys=Keyring([OLD])) as repository:
        assert_readable(repository, hashes)


def test_a_plain_store_is_not_rotated_and_nothing_is_rotated_without_keys(url: str) -> None:
    with storage_of(url) as storage:
        fill(storage)
        with pytest.raises(NotEncrypted):
            rotate_keys(storage, Keyring([OLD]))
        with pytest.raises(WrongKey):
            convert(storage, Keyring(), to=Mode.SEALED)


def test_writers_meanwhile_lose_nothing(url: str, sealed: list[str]) -> None:
    with get_repository(url, encryption_keys=Keyring([OLD, NEW])) as repository:
        seen: list[int] = []

        def interfere(count: int) -> None:
            seen.append(count)
            repository.store_oauth_token(sealed[1], "github", OAuthTokenData(f"access {sealed[1]} github"))

        outcome = rotate_keys(repository.inner, Keyring([NEW, OLD]), progress=interfere)  # type: ignore[attr-defined]
        assert sum(seen) == 3 * 5
        assert outcome.changed >= 3 * 5
        assert_readable(repository, sealed)
        rotate_keys(repository.inner, Keyring([NEW, OLD]))  # type: ignore[attr-defined]
    with get_repository(url, encryption_keys=Keyring([NEW])) as repository:
        assert_readable(repository, sealed)


def test_a_payload_that_was_moved_in_a_plain_store_is_not_sealed_where_it_lies(url: str) -> None:
    with get_repository(url) as repository:
        hashes = fill(repository)
    with storage_of(url) as storage:
        records = {(r.place.tenant_hash, r.place.service, r.place.kind): r for r in raw_records(storage)}
        mine, other = (records[tenant, "github", Kind.OAUTH] for tenant in hashes[:2])
        storage.replace_payloads([(mine, other.payload)])
        outcome = convert(storage, Keyring([OLD]), to=Mode.SEALED)
        assert [type(error) for error in outcome.failed] == [CorruptRecord]
        assert outcome.changed == 3 * 5 - 1
        with pytest.raises(CorruptRecord):
            storage.get_oauth_token(hashes[0], "github")
        assert storage.delete_oauth_token(hashes[0], "github")
        assert convert(storage, Keyring([OLD]), to=Mode.SEALED).failed == []
    with get_repository(url, encryption_keys=Keyring([OLD])) as repository:
        assert repository.get_oauth_token(hashes[0], "github") is None
        assert repository.check().ok


def test_an_emptied_store_takes_the_keys_of_its_next_record(url: str, sealed: list[str]) -> None:
    with get_repository(url) as repository:
        for tenant in sealed:
            repository.delete_tenant(tenant)
    with get_repository(url, encryption_keys=Keyring([NEW])) as repository:
        hashes = fill(repository)
    with get_repository(url, encryption_keys=Keyring([NEW])) as repository:
        assert_readable(repository, hashes)


def test_a_mark_that_calls_a_sealed_store_plain_is_not_followed(url: str, sealed: list[str]) -> None:
    with storage_of(url) as storage:
        storage.write_mark(ENCRYPTION_MARK, PLAIN_MARK)
        before = raw_records(storage)
        with pytest.raises(Tampered):
            convert(storage, Keyring([OLD]), to=Mode.SEALED)
        assert raw_records(storage) == before
        assert storage.read_mark(ENCRYPTION_MARK) == PLAIN_MARK


@pytest.mark.parametrize("mark", [b"sealed", b"sealed:", b"seale:", b"other", b""])
def test_an_altered_mark_is_tampered(url: str, sealed: list[str], mark: bytes) -> None:
    with storage_of(url) as storage:
        storage.write_mark(ENCRYPTION_MARK, mark)
    with pytest.raises(Tampered):
        get_repository(url, encryption_keys=Keyring([OLD]))


def test_a_corrupt_tenant_keeps_nobody_from_checking_a_sealed_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vault.db"
    with get_repository(url, encryption_keys=Keyring([OLD])) as repository:
        first = min(fill(repository))
    with closing(sqlite3.connect(tmp_path / "vault.db")) as connection:
        connection.execute("UPDATE tenants SET created_at = 7 WHERE tenant_hash = ?", (first,))
        connection.commit()
    for keys in (None, Keyring([OLD])):
        with get_repository(url, encryption_keys=keys) as repository:
            assert [place.tenant_hash for place in repository.check().corrupt] == [first]


@pytest.mark.parametrize("name", ["FUSION_STORE_KEYS", "FUSION_STORE_KEY_FILE"])
def test_keys_that_are_meant_to_be_there_and_missing_make_no_plain_vault(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, " ")
    with pytest.raises(ConfigError, match=name):
        get_repository("memory://")
    with pytest.raises(ConfigError, match="no encryption key"):
        get_repository("memory://", encryption_keys=[])
    get_repository("memory://", encryption_keys=Keyring()).close()
