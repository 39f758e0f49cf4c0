"""A store is plain or sealed as a whole, and stays so: its first record decides, and nobody changes it by opening."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest
from msgspec.structs import replace

from fusion_store import (
    SYSTEM_TENANT,
    CorruptRecord,
    EncryptionError,
    FusionStoreError,
    NotEncrypted,
    OAuthTokenData,
    Tampered,
    TokenRepository,
    WrongKey,
    get_repository,
)
from fusion_store.backend import (
    PLAIN_MARK,
    Kind,
    MarkRecord,
    Mode,
    Place,
    SecretRecord,
    TenantCounts,
    mode_of,
)
from fusion_store.layers import Cipher, EncryptedTokenRepository, Key, Keyring
from fusion_store_memory import MemoryTokenRepository
from fusion_store_memory._state import State
from tests.encryption.raw import Raw
from tests.encryption.vaults import BACKENDS, TTL, Vault, all_records, fill, outcome, storage

OpenRaw = Callable[[TokenRepository], Raw]

TOKEN = OAuthTokenData("access", "refresh")

T = TypeVar("T")


def encryption(repository: TokenRepository) -> str:
    return repository.health().encryption


def test_an_empty_store_takes_the_mode_of_its_opener(vault: Vault) -> None:
    for _ in range(2):
        with vault.sealed() as sealed:
            assert encryption(sealed) == "encrypted"
            sealed.purge_expired()
        with vault.open() as plain:
            assert encryption(plain) == "plain"
            plain.check()


def first_token(repository: TokenRepository) -> None:
    repository.add_api_token()


def first_oauth_token(repository: TokenRepository) -> None:
    repository.store_oauth_token(SYSTEM_TENANT, "github", TOKEN)


def first_claim(repository: TokenRepository) -> None:
    repository.claim_refresh(SYSTEM_TENANT, "github", ttl=TTL)


def first_code(repository: TokenRepository) -> None:
    repository.create_auth_code(SYSTEM_TENANT, "github", ttl=TTL)


@pytest.mark.parametrize("write", [first_token, first_oauth_token, first_claim, first_code])
def test_the_first_record_fixes_the_mode(vault: Vault, write: Callable[[TokenRepository], None]) -> None:
    with vault.sealed() as sealed:
        write(sealed)
    with vault.open() as keyless:
        assert encryption(keyless) == "encrypted"
    with vault.sealed() as sealed:
        assert encryption(sealed) == "encrypted"


@pytest.mark.parametrize("write", [first_token, first_oauth_token, first_claim, first_code])
def test_a_plain_store_with_records_refuses_keys_and_stays_as_it_is(
    vault: Vault, raw: OpenRaw, write: Callable[[TokenRepository], None]
) -> None:
    plain = vault.open()
    write(plain)
    records, mark = all_records(storage(plain)), raw(plain).mark()
    vault.close()
    with pytest.raises(NotEncrypted) as caught:
        vault.sealed()
    assert "key convert" in str(caught.value)
    plain = vault.open()
    assert (all_records(storage(plain)), raw(plain).mark()) == (records, mark)
    assert mark == PLAIN_MARK


def test_another_key_is_refused_and_the_right_one_named(vault: Vault) -> None:
    fill(vault.sealed(), vault.clock.now)
    vault.close()
    with pytest.raises(WrongKey) as caught:
        vault.open(Key.generate())
    assert caught.value.key_id == vault.key.key_id
    assert vault.open(Key.generate(), vault.key).check().ok


def test_every_key_at_hand_opens_and_the_first_one_seals(vault: Vault) -> None:
    with vault.sealed() as repository:
        tenant = repository.add_api_token().hash
        repository.store_oauth_token(tenant, "old", TOKEN)
    newer = Key.generate()
    with vault.open(newer, vault.key) as repository:
        repository.store_oauth_token(tenant, "new", TOKEN)
        assert len(repository.list_oauth_tokens(tenant)) == 2
    with vault.sealed() as repository:
        assert repository.get_oauth_token(tenant, "old") is not None
        with pytest.raises(WrongKey) as caught:
            repository.get_oauth_token(tenant, "new")
        assert caught.value.key_id == newer.key_id


def test_both_ciphers_stand_in_one_store(vault: Vault) -> None:
    other = next(cipher for cipher in Cipher if cipher is not vault.cipher)
    with vault.sealed() as repository:
        tenant = repository.add_api_token().hash
        repository.store_oauth_token(tenant, "one", TOKEN)
    with vault.open(vault.key, cipher=other) as repository:
        repository.store_oauth_token(tenant, "other", TOKEN)
        assert len(repository.list_oauth_tokens(tenant)) == 2
        assert repository.check().ok


def test_a_mark_whose_seal_was_altered_is_refused(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    repository.add_api_token()
    mark = raw(repository).mark()
    assert mark is not None
    assert mode_of(mark) is Mode.SEALED
    vault.close()
    start = len("sealed:")
    for byte in (*range(start + 16), *range(start + 16, len(mark), 16), len(mark) - 1):
        altered = bytearray(mark)
        altered[byte] ^= 1
        raw(repository := vault.open()).set_mark(bytes(altered))
        repository.close()
        refused = outcome(vault.sealed)
        if byte < start + 4:
            assert isinstance(refused, EncryptionError)
        else:
            assert type(refused) is (WrongKey if byte < start + 12 else Tampered), byte
    raw(repository := vault.open()).set_mark(mark)
    repository.close()
    assert vault.sealed().check().ok


@pytest.mark.parametrize(
    "forged",
    [None, b"", b"plain", b"plain:", b"sealed", b"sealed:", b"\xff", b"converting:plain", b"converting:sealed"],
)
def test_a_forged_mark_never_opens_a_sealed_store(vault: Vault, raw: OpenRaw, forged: bytes | None) -> None:
    repository = vault.sealed()
    fill(repository, vault.clock.now)
    raw(repository).set_mark(forged)
    vault.close()
    with pytest.raises(EncryptionError):
        vault.sealed()


@pytest.mark.parametrize("forged", [None, b"plain", b"converting:plain"])
def test_an_open_handle_writes_nothing_once_the_mark_was_forged(
    vault: Vault, raw: OpenRaw, forged: bytes | None
) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    tenant = contents.rows[0].place.tenant_hash
    raw(repository).set_mark(forged)
    found = outcome(partial(repository.store_oauth_token, tenant, "github", TOKEN))
    if forged is None:
        # Without a mark the next record sets it, to the handle's own.
        assert mode_of(raw(repository).mark()) is Mode.SEALED
    else:
        assert isinstance(found, EncryptionError)
    records = [record for record in all_records(storage(repository)) if hasattr(record, "payload")]
    assert all(record.payload[:4] == b"\xf5fs\x01" for record in records)


@pytest.mark.parametrize("forged", [b"plain", None])
def test_a_downgraded_mark_yields_no_data_to_a_plain_opener(vault: Vault, raw: OpenRaw, forged: bytes | None) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    raw(repository).set_mark(forged)
    vault.close()
    plain = vault.open()
    for row in contents.rows:
        assert isinstance(outcome(partial(contents.read, plain, row)), WrongKey)


def test_a_sealed_export_makes_an_empty_plain_store_sealed(vault: Vault, tmp_path: Path) -> None:
    source = vault.sealed()
    contents = fill(source, vault.clock.now)
    exported = list(source.export_records())
    assert isinstance(exported[0], MarkRecord)
    target = vault.elsewhere("target")
    imported = target.open()
    assert imported.import_records(exported) > len(contents.rows)
    assert all_records(storage(imported)) == [r for r in exported if not isinstance(r, MarkRecord)]
    with pytest.raises(WrongKey):
        imported.store_oauth_token(contents.rows[0].place.tenant_hash, "github", TOKEN)
    imported.close()
    with pytest.raises(WrongKey):
        target.open(Key.generate())
    sealed = target.sealed()
    assert sealed.check().ok
    assert all(contents.read(sealed, row) is not None for row in contents.rows)


def test_sealed_records_are_refused_by_a_plain_store_that_holds_some(vault: Vault) -> None:
    source = vault.sealed()
    fill(source, vault.clock.now)
    target = vault.elsewhere("target").open()
    target.add_api_token()
    before = all_records(storage(target))
    with pytest.raises(EncryptionError):
        target.import_records(source.export_records())
    without_mark = [r for r in source.export_records() if not isinstance(r, MarkRecord)]
    with pytest.raises(EncryptionError):
        target.import_records(without_mark)
    assert all_records(storage(target)) == before


def test_plain_records_are_sealed_on_their_way_into_a_sealed_store(vault: Vault) -> None:
    source = vault.elsewhere("source").open()
    contents = fill(source, vault.clock.now, secret="canary")
    target = vault.sealed()
    target.import_records(source.export_records())
    assert target.check().ok
    payloads = [r.payload for r in all_records(storage(target)) if hasattr(r, "payload")]
    assert len(payloads) == len(contents.rows)
    assert not any(b"canary" in payload for payload in payloads)
    assert all(contents.read(target, row) is not None for row in contents.rows)


@pytest.mark.parametrize("backend", ["memory"])
def test_plain_records_are_sealed_when_they_take_the_place_of_others(vault: Vault) -> None:
    source = vault.elsewhere("source").open()
    contents = fill(source, vault.clock.now, secret="canary")
    target = vault.sealed()
    assert isinstance(target, EncryptedTokenRepository)
    plain = all_records(storage(source))
    target.import_records(plain)
    before = all_records(storage(target))

    assert target.insert_records(plain, target.mode, lambda _, __: None) == 0
    assert all_records(storage(target)) == before

    assert target.insert_records(plain, target.mode, lambda _, incoming: incoming) == len(plain)
    after = all_records(storage(target))
    assert not any(b"canary" in getattr(record, "payload", b"") for record in after)
    assert after != before
    assert all(contents.read(target, row) is not None for row in contents.rows)


@pytest.mark.parametrize("backend", ["memory"])
def test_a_plain_record_that_does_not_read_is_not_taken_into_a_sealed_store(vault: Vault) -> None:
    tenant = vault.sealed().add_api_token().metadata.tenant_hash
    target = vault.sealed()
    damaged = SecretRecord(Place(tenant, Kind.OAUTH, "github"), b"{", None, 0, 0, 1)
    with pytest.raises(CorruptRecord):
        target.import_records([damaged])
    assert target.get_oauth_token(tenant, "github") is None


def test_records_that_were_altered_on_their_way_are_refused(vault: Vault) -> None:
    source = vault.sealed()
    fill(source, vault.clock.now)
    exported = list(source.export_records())
    target = vault.elsewhere("target").sealed()
    at = next(i for i, r in enumerate(exported) if isinstance(r, SecretRecord))
    record = exported[at]
    assert isinstance(record, SecretRecord)
    for payload, told in (
        (record.payload[:-1] + bytes([record.payload[-1] ^ 1]), "altered"),
        (record.payload[:12], "short"),
    ):
        altered = [*exported[:at], replace(record, payload=payload), *exported[at + 1 :]]
        with pytest.raises(Tampered, match=told):
            target.import_records(altered)
    moved = replace(record, place=replace(record.place, service="elsewhere"))
    with pytest.raises(Tampered):
        target.import_records([*exported[:at], moved])


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_handles_race_for_the_mode_of_an_empty_store_and_one_wins(backend: str, tmp_path: Path) -> None:
    key = Key.generate()
    for round in range(8):
        url = {
            "memory": f"memory://{uuid4().hex}",
            "sqlite": f"sqlite:///{tmp_path}/{round}/vault.db",
            "leveldb": f"leveldb:///{tmp_path}/{round}",
        }[backend]
        plain = get_repository(url)
        if backend == "leveldb":
            # One handle holds the folder: both go through it.
            sealed: TokenRepository = EncryptedTokenRepository(storage(plain), Keyring([key]))
        else:
            sealed = get_repository(url, encryption_keys=Keyring([key]))
        outcomes = race(plain, sealed)
        assert {type(found) for found in outcomes.values()} <= {OAuthTokenData, WrongKey, NotEncrypted}
        winners = [handle for handle, found in outcomes.items() if isinstance(found, OAuthTokenData)]
        assert len(winners) == 1
        payloads = [r.payload for r in all_records(storage(plain)) if hasattr(r, "payload")]
        assert [payload[:4] == b"\xf5fs\x01" for payload in payloads] == [winners == ["sealed"]]
        sealed.close()
        plain.close()


def race(plain: TokenRepository, sealed: TokenRepository) -> dict[str, object]:
    """What each handle gets for a token that both store at once in an empty store."""
    barrier = threading.Barrier(2)
    outcomes: dict[str, object] = {}

    def store(name: str, repository: TokenRepository) -> None:
        barrier.wait()
        try:
            outcomes[name] = repository.store_oauth_token(SYSTEM_TENANT, name, TOKEN)
        except FusionStoreError as error:
            outcomes[name] = error

    threads = [threading.Thread(target=store, args=each) for each in (("plain", plain), ("sealed", sealed))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


class _Overtaken(MemoryTokenRepository):
    """Another handle writes the first record between what an opener reads first and what it reads next."""

    def __init__(self, state: State, write: Callable[[], object]) -> None:
        super().__init__(state)
        self._write = [write]

    def _look(self, answer: Callable[[], T]) -> T:
        answered = answer()
        for write in self._write:
            self._write = []
            write()
        return answered

    def read_mark(self, name: str) -> bytes | None:
        return self._look(lambda: super(_Overtaken, self).read_mark(name))

    def scan_tenants(self, after: str | None, limit: int, now: int) -> list[TenantCounts]:
        return self._look(lambda: super(_Overtaken, self).scan_tenants(after, limit, now))


def test_opening_an_empty_store_that_another_handle_fills_meanwhile() -> None:
    state, key = State(), Key.generate()
    first = EncryptedTokenRepository(MemoryTokenRepository(state), Keyring([key]))

    with EncryptedTokenRepository(_Overtaken(state, first.add_api_token), Keyring([key])) as second:
        issued = second.add_api_token()
        second.store_oauth_token(issued.hash, "github", TOKEN)
        assert encryption(second) == "encrypted"
        read = first.get_oauth_token(issued.hash, "github")
    assert read is not None
    assert read.access_token == TOKEN.access_token
