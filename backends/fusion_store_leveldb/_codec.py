"""The form of values: a version byte, then a MessagePack array.

What the key says isn't repeated in the value. A record's checksum is verified on each read; by the records' own rule it
leaves out what a payload protects itself, so that a secret found at another place is read as one of that place, and
whoever opens its payload can tell.
"""

from __future__ import annotations

from typing import Final, cast

import msgspec

from fusion_store import CorruptRecord
from fusion_store.backend import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Record,
    SecretRecord,
    TenantRecord,
    is_moment,
)
from fusion_store_leveldb import _keys as keys

_VERSION: Final = b"\x01"


class _Value(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The base of all values."""


class _Tenant(_Value):
    checksum: int
    created_at: int


class _Token(_Value):
    checksum: int
    prefix: str
    description: str
    scopes: tuple[str, ...]
    last_used: int | None
    expires_at: int | None


class _Secret(_Value):
    checksum: int
    payload: bytes
    expires_at: int | None
    created_at: int
    updated_at: int
    version: int


class _Counter(_Value):
    checksum: int
    version: int
    fence: int
    claim_fence: int | None
    claim_owner: str | None
    claim_deadline: int | None


class _Code(_Value):
    # No checksum: a code's covers its hash alone, which is its key here.
    payload: bytes
    expires_at: int


_encode: Final = msgspec.msgpack.Encoder().encode
_read_tenant: Final = msgspec.msgpack.Decoder(_Tenant).decode
_read_token: Final = msgspec.msgpack.Decoder(_Token).decode
_read_secret: Final = msgspec.msgpack.Decoder(_Secret).decode
_read_counter: Final = msgspec.msgpack.Decoder(_Counter).decode
_read_code: Final = msgspec.msgpack.Decoder(_Code).decode


def encode(record: Record) -> bytes:
    """The value of a record."""
    return _VERSION + _encode(_value(record))


def decode(key: bytes, value: bytes) -> Record:
    """The record with that key and value; ``CorruptRecord`` when it doesn't read as it was written."""
    try:
        location = keys.read(key)
    except ValueError:
        raise CorruptRecord("unknown", tenant_hash=keys.tenant_of(key), reason="unreadable key") from None
    return decode_at(location, value)


def decode_at(location: keys.RecordKey, value: bytes) -> Record:
    """As ``decode``, the key having been taken apart."""
    if not value.startswith(_VERSION):
        raise corrupt(location, "unknown format")
    try:
        record, checksum = _record(location, memoryview(value)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise corrupt(location) from None
    if checksum is not None and checksum != record.checksum():
        raise corrupt(location, "wrong checksum")
    if isinstance(record, APITokenRecord) and not _is_readable(record):
        raise corrupt(location, "no moment was its last use")
    return record


def decode_token(key: bytes, value: bytes) -> APITokenRecord:
    """As ``decode``, of an API token."""
    token = try_token(key, value, keys.token_hash(key))
    return cast(APITokenRecord, decode(key, value)) if token is None else token


def try_token(key: bytes, value: bytes, hash: str, at: int = 0) -> APITokenRecord | None:
    """The API token of that hash with that key and value, which may begin ``at`` a later byte.

    None when it doesn't read as it was written. Of ``key`` only the beginning counts.
    """
    if not value.startswith(_VERSION, at):
        return None
    try:
        token = _read_token(memoryview(value)[at + 1 :])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    tenant_hash, created_at = keys.token_owner(key)
    record = APITokenRecord(
        hash,
        token.prefix,
        tenant_hash,
        token.description,
        token.scopes,
        created_at,
        token.last_used,
        token.expires_at,
    )
    # It covers all that the key says.
    return record if token.checksum == record.checksum() and _is_readable(record) else None


def _is_readable(token: APITokenRecord) -> bool:
    """Whether its last use, which no checksum covers, is a moment."""
    return token.last_used is None or is_moment(token.last_used)


def corrupt(location: keys.RecordKey, reason: str = "unreadable") -> CorruptRecord:
    """The error that names the record at a key."""
    return CorruptRecord(
        location.record_kind,
        tenant_hash=location.tenant_hash,
        service=location.service,
        reason=reason,
    )


def encode_bytes(value: bytes) -> bytes:
    """The value of a mark or of the schema version."""
    return _VERSION + value


def decode_bytes(value: bytes, kind: str) -> bytes:
    """What ``encode_bytes`` was given; ``CorruptRecord`` naming ``kind`` when it doesn't read."""
    if value[:1] != _VERSION:
        raise CorruptRecord(kind, reason="unknown format")
    return value[1:]


def _value(record: Record) -> _Value:
    match record:
        case TenantRecord():
            return _Tenant(record.checksum(), record.created_at)
        case APITokenRecord():
            return _Token(
                record.checksum(),
                record.prefix,
                record.description,
                record.scopes,
                record.last_used,
                record.expires_at,
            )
        case SecretRecord():
            return _Secret(
                record.checksum(),
                record.payload,
                record.expires_at,
                record.created_at,
                record.updated_at,
                record.version,
            )
        case CounterRecord():
            return _Counter(
                record.checksum(),
                record.version,
                record.fence,
                record.claim_fence,
                record.claim_owner,
                record.claim_deadline,
            )
        case AuthCodeRecord():
            return _Code(record.payload, record.expires_at)


def _record(location: keys.RecordKey, body: memoryview) -> tuple[Record, int | None]:
    """The record, and the checksum that was stored with it."""
    if location.section == keys.TOKEN_SECTION:
        token = _read_token(body)
        return APITokenRecord(
            location.hash,
            token.prefix,
            location.tenant_hash,
            token.description,
            token.scopes,
            location.created_at,
            token.last_used,
            token.expires_at,
        ), token.checksum
    if location.section == keys.TENANT_SECTION:
        tenant = _read_tenant(body)
        return TenantRecord(location.tenant_hash, tenant.created_at), tenant.checksum
    assert location.place is not None
    if location.section == keys.SECRET_SECTION:
        secret = _read_secret(body)
        return SecretRecord(
            location.place, secret.payload, secret.expires_at, secret.created_at, secret.updated_at, secret.version
        ), secret.checksum
    if location.section == keys.COUNTER_SECTION:
        counter = _read_counter(body)
        return CounterRecord(
            location.place,
            counter.version,
            counter.fence,
            counter.claim_fence,
            counter.claim_owner,
            counter.claim_deadline,
        ), counter.checksum
    code = _read_code(body)
    return AuthCodeRecord(location.hash, location.place, code.payload, code.expires_at), None
