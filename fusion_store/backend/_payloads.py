"""The plain form of payloads.

A payload is a format byte, a CRC-32 and a JSON text; the checksum covers its binding too, so that a payload
which was altered, or moved to another place, doesn't read.
"""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

import msgspec

from fusion_store._errors import CorruptRecord, WrongKey
from fusion_store._records import AuthCodeRecord, Binding, Kind, SecretRecord
from fusion_store._values import CredentialType, OAuthTokenData, ServiceCredentials
from fusion_store.backend import _limits as limits

SEALED_MAGIC: Final = b"\xf5fs\x01"
"""What every sealed payload begins with, and no plain one."""

KEY_ID_BYTES: Final = 8
"""How much of a sealed payload, behind the magic, names its key."""

_FORMAT: Final = b"\x01"
_HEADER_BYTES: Final = 5


class VouchedPayload(bytes):
    """A plain payload that came out of a seal bound to its place: its checksum has nothing to add."""


class _OAuthBody(msgspec.Struct):
    access_token: str
    refresh_token: str | None
    token_type: str
    scope: tuple[str, ...]
    metadata: dict[str, str]


_encode_binding: Final = msgspec.msgpack.Encoder().encode
_encode: Final = msgspec.json.Encoder().encode
_decode_oauth: Final = msgspec.json.Decoder(_OAuthBody).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


def pack_oauth(binding: Binding, token: OAuthTokenData) -> bytes:
    """The payload of an OAuth token."""
    body = _OAuthBody(token.access_token, token.refresh_token, token.token_type, token.scope, dict(token.metadata))
    return pack_json(binding, _encode(body))


def pack_json(binding: Binding, body: bytes) -> bytes:
    """The payload that holds a JSON text."""
    return b"".join((_FORMAT, _crc(binding, body), body))


def unpack_oauth(record: SecretRecord) -> _OAuthBody:
    """The fields of an OAuth token's payload; ``CorruptRecord`` when it doesn't read."""
    try:
        return _decode_oauth(_body(record))
    except msgspec.MsgspecError:
        raise _corrupt(record.binding()) from None


def unpack_json(record: SecretRecord | AuthCodeRecord) -> dict[str, Any]:
    """The JSON object in a payload; ``CorruptRecord`` when it doesn't read."""
    try:
        return _decode_object(_body(record))
    except msgspec.MsgspecError:
        raise _corrupt(record.binding()) from None


def key_id_of(payload: bytes) -> str:
    """The key that a sealed payload names, unverified; empty for a plain one."""
    start = len(SEALED_MAGIC)
    return payload[start : start + KEY_ID_BYTES].hex() if payload.startswith(SEALED_MAGIC) else ""


def check_payload(record: SecretRecord | AuthCodeRecord) -> None:
    """Raise ``CorruptRecord`` when a plain payload doesn't read, ``WrongKey`` when it is sealed."""
    if isinstance(record, AuthCodeRecord):
        unpack_json(record)
    elif record.place.kind is Kind.OAUTH:
        read_oauth_token(record)
    else:
        read_credentials(record)


def read_oauth_token(record: SecretRecord) -> OAuthTokenData:
    """The token in a record; ``CorruptRecord`` when it doesn't read."""
    body, created_at = unpack_oauth(record), limits.moment(record.created_at)
    return OAuthTokenData(
        body.access_token,
        body.refresh_token,
        body.token_type,
        limits.optional_moment(record.expires_at),
        body.scope,
        body.metadata,
        created_at,
        created_at if record.updated_at == record.created_at else limits.moment(record.updated_at),
        record.version,
    )


def read_credentials(record: SecretRecord) -> ServiceCredentials:
    """The credential in a record; ``CorruptRecord`` when it doesn't read."""
    data = unpack_json(record)
    try:
        type = CredentialType(record.place.credential_type)
    except ValueError:
        raise _corrupt(record.binding()) from None
    return ServiceCredentials(
        type=type,
        data=data,
        expires_at=limits.optional_moment(record.expires_at),
        created_at=limits.moment(record.created_at),
        updated_at=limits.moment(record.updated_at),
        version=record.version,
    )


def _body(record: SecretRecord | AuthCodeRecord) -> memoryview:
    payload = record.payload
    body = memoryview(payload)[_HEADER_BYTES:]
    if type(payload) is VouchedPayload:
        return body
    binding = record.binding()
    if payload[:_HEADER_BYTES] != _FORMAT + _crc(binding, body):
        if payload.startswith(SEALED_MAGIC):
            raise WrongKey(
                "the vault is sealed, and no key is at hand",
                tenant_hash=binding.tenant_hash,
                kind=binding.kind,
                service=binding.service,
            )
        raise _corrupt(binding)
    return body


def _crc(binding: Binding, body: bytes | memoryview) -> bytes:
    return crc32(body, crc32(_encode_binding(binding))).to_bytes(4)


def _corrupt(binding: Binding) -> CorruptRecord:
    return CorruptRecord(binding.kind, tenant_hash=binding.tenant_hash, service=binding.service)
