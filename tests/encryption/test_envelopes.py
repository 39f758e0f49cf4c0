"""What isn't an envelope, byte for byte as it was sealed, is refused with the error that says why."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import msgpack
from msgspec.structs import replace

from fusion_store import (
    CorruptRecord,
    EncryptionError,
    FusionStoreError,
    NotEncrypted,
    Tampered,
    TokenRepository,
    WrongKey,
    get_repository,
)
from fusion_store.backend import SEALED_MAGIC, AuthCodeRecord, Record, SecretRecord
from fusion_store.layers import EncryptedTokenRepository
from tests.encryption.raw import Raw
from tests.encryption.vaults import Contents, Row, Vault, all_records, fill, outcome, storage

Payload = SecretRecord | AuthCodeRecord
OpenRaw = Callable[[TokenRepository], Raw]

MAGIC = range(4)
KEY_ID = range(4, 12)
HEADER = range(13)


def of_each_kind(contents: Contents) -> Iterator[Row]:
    """One row of every kind."""
    yield from {row.place.kind: row for row in contents.rows}.values()


def error_at(byte: int) -> type[FusionStoreError]:
    """What an altered byte of an envelope is."""
    if byte in MAGIC:
        return NotEncrypted
    return WrongKey if byte in KEY_ID else Tampered


def test_a_flipped_bit_is_told_by_where_it_stands(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    for row in of_each_kind(contents):
        payload = database.payload(row)
        for byte in range(len(payload)):
            for bit in range(8) if byte in HEADER else [byte % 8]:
                altered = bytearray(payload)
                altered[byte] ^= 1 << bit
                database.set_payload(row, bytes(altered))
                found = outcome(partial(contents.read, repository, row))
                assert type(found) is error_at(byte), (byte, bit)
                if isinstance(found, WrongKey):
                    assert found.key_id == altered[4:12].hex()
        database.set_payload(row, payload)
    assert repository.check().ok


def test_a_cut_envelope_is_refused_at_every_length(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    for row in of_each_kind(contents):
        payload = database.payload(row)
        for length in range(len(payload)):
            database.set_payload(row, payload[:length])
            found = outcome(partial(contents.read, repository, row))
            assert type(found) is (NotEncrypted if length < len(MAGIC) else Tampered), length
        database.set_payload(row, payload)
    assert repository.check().ok


@pytest.mark.parametrize("backend", ["memory"])
def test_an_envelope_has_no_second_spelling(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    for row in of_each_kind(contents):
        payload = database.payload(row)
        ends = range(len(payload) - 4, len(payload))
        spellings = {
            payload[:13] + payload[13:].replace(b"-", b"+"),
            payload[:13] + payload[13:].replace(b"_", b"/"),
            payload[:13] + payload[13:].rstrip(b"="),
            payload[:13] + b"!" + payload[13:],
            payload[:13] + b"!" + payload[13:].removesuffix(b"="),
            payload[:-1] + b"!" + payload[-1:],
            payload[:20] + b"\n" + payload[20:],
            *(payload[:at] + bytes([byte]) + payload[at + 1 :] for byte in range(256) for at in ends),
            *(
                payload[:at] + bytes([payload[at] ^ (1 << bit)]) + payload[at + 1 :]
                for bit in range(8)
                for at in range(13, len(payload))
            ),
        } - {payload}
        for spelling in spellings:
            database.set_payload(row, spelling)
            assert type(outcome(partial(contents.read, repository, row))) is Tampered
        database.set_payload(row, payload)


@pytest.mark.parametrize("addition", [b"\0", b"=", b"\0" * 16])
def test_an_envelope_that_goes_on_is_altered(vault: Vault, raw: OpenRaw, addition: bytes) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    for row in of_each_kind(contents):
        database.set_payload(row, database.payload(row) + addition)
        assert type(outcome(partial(contents.read, repository, row))) is Tampered


@pytest.mark.parametrize("backend", ["memory"])
def test_any_other_bytes_are_never_data(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    rows = list(of_each_kind(contents))
    header = SEALED_MAGIC + bytes.fromhex(vault.key.key_id)

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.sampled_from(rows),
        st.sampled_from([b"", SEALED_MAGIC, header, header + b"\x01", header + b"\x02"]),
        st.binary(max_size=200),
    )
    def refused(row: Row, start: bytes, rest: bytes) -> None:
        database.set_payload(row, start + rest)
        for read in (contents.read, contents.list_beside):
            found = outcome(partial(read, repository, row))
            assert isinstance(found, EncryptionError | CorruptRecord) or (row.hash and found is None)
        assert row.named in {(p.tenant_hash, p.kind, p.service) for p in repository.check().corrupt}

    refused()


def test_a_planted_plain_payload_is_not_encrypted(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    plain = {row: plain_payload(vault, repository, row) for row in contents.rows}
    for row in contents.rows:
        payload = database.payload(row)
        database.set_payload(row, plain[row])
        found = outcome(partial(contents.read, repository, row))
        assert isinstance(found, NotEncrypted)
        assert (found.tenant_hash, found.kind, found.service) == row.named
        if not row.hash:
            assert isinstance(outcome(partial(contents.list_beside, repository, row)), NotEncrypted)
        assert [(p.tenant_hash, p.kind, p.service) for p in repository.check().corrupt] == [row.named]
        with pytest.raises(NotEncrypted, match="isn't sealed"):
            list(repository.export_records())
        database.set_payload(row, payload)
    assert repository.check().ok


def test_a_planted_plain_payload_is_noticed_without_keys(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    row = contents.rows[0]
    raw(repository).set_payload(row, plain_payload(vault, repository, row))
    vault.close()
    keyless = vault.open()
    assert isinstance(outcome(partial(contents.read, keyless, row)), NotEncrypted)
    assert [(p.tenant_hash, p.kind, p.service) for p in keyless.check().corrupt] == [row.named]
    with pytest.raises(NotEncrypted, match="isn't sealed"):
        list(keyless.export_records())


def plain_payload(vault: Vault, repository: TokenRepository, row: Row) -> bytes:
    """The payload of that row as a plain store holds it, where it reads."""
    assert isinstance(repository, EncryptedTokenRepository)
    records: list[Record] = []
    for record in all_records(storage(repository)):
        if isinstance(record, Payload):
            records.append(replace(record, payload=bytes(repository.opened(record).payload)))
        else:
            records.append(record)
    with get_repository("memory://", clock=vault.clock) as plain:
        plain.import_records(records)
        assert plain.check().ok
    return next(r.payload for r in records if isinstance(r, Payload) and Row(r.place, getattr(r, "hash", "")) == row)


@pytest.mark.parametrize("backend", ["memory"])
def test_an_envelope_is_what_the_documentation_says(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now, secret="canary")
    key = base64.urlsafe_b64decode(vault.key.reveal())
    for row, record in ((row, raw(repository).payload(row)) for row in of_each_kind(contents)):
        expiry = next(
            stored.expires_at
            for stored in all_records(storage(repository))
            if isinstance(stored, SecretRecord | AuthCodeRecord) and stored.payload == record
        )
        place = (row.place.tenant_hash, row.place.kind, row.place.service, row.place.credential_type)
        bound = msgpack.encode((*place, expiry, row.hash))
        magic, key_id, cipher, body = record[:4], record[4:12], record[12], record[13:]
        assert magic == bytes.fromhex("f5667301")
        assert key_id == sha256(b"fusion-store key id\0" + key).digest()[:8]
        if cipher == 2:
            derived = HKDF(SHA256(), 32, salt=None, info=b"fusion-store aes-256-gcm").derive(key)
            payload = AESGCM(derived).decrypt(body[:12], body[12:], bound)
        else:
            assert cipher == 1
            content = Fernet(base64.urlsafe_b64encode(key)).decrypt(body)
            assert content[2 : 2 + len(bound)] == bound
            payload = content[2 + len(bound) :]
        assert b"canary" in payload
