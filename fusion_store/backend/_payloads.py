"""The plain form of payloads.

A payload is a format byte, a CRC-32 and a JSON text; the checksum covers place and expiry too, so that a payload
which was altered, or moved to another place, doesn't read.
"""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

import msgspec

from fusion_store._errors import CorruptRecord
from fusion_store._records import AuthCodeRecord, Place, SecretRecord
from fusion_store._values import CredentialType, OAuthTokenData, ServiceCredentials
from fusion_store.backend import _limits as limits

_FORMAT: Final = b"\x01"
_HEADER_BYTES: Final = 5


class _OAuthBody(msgspec.Struct):
    access_token: str
    refresh_token: str | None
    token_type: str
    scope: tuple[str, ...]
    metadata: dict[str, str]


_encode: Final = msgspec.json.Encoder().encode
_decode_oauth: Final = msgspec.json.Decoder(_OAuthBody).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


def pack_oauth(place: Place, expires_at: int | None, token: OAuthTokenData) -> bytes:
    """The payload of an OAuth token."""
    body = _OAuthBody(
        token.access_token,
        token.refresh_token,
        token.token_type,
        tuple(token.scope),
        dict(token.metadata),
    )
    return pack_json(place, expires_at, _encode(body))


def pack_json(place: Place, expires_at: int | None, body: bytes) -> bytes:
    """The payload that holds a JSON text."""
    return b"".join((_FORMAT, _crc(place, expires_at, body), body))


def unpack_oauth(record: SecretRecord) -> _OAuthBody:
    """The fields of an OAuth token's payload; ``CorruptRecord`` when it doesn't read."""
    try:
        return _decode_oauth(_body(record.place, record.expires_at, record.payload))
    except msgspec.MsgspecError:
        raise _corrupt(record.place) from None


def unpack_json(record: SecretRecord | AuthCodeRecord) -> dict[str, Any]:
    """The JSON object in a payload; ``CorruptRecord`` when it doesn't read."""
    try:
        return _decode_object(_body(record.place, record.expires_at, record.payload))
    except msgspec.MsgspecError:
        raise _corrupt(record.place) from None


def read_oauth_token(record: SecretRecord) -> OAuthTokenData:
    """The token in a record; ``CorruptRecord`` when it doesn't read."""
    body = unpack_oauth(record)
    return OAuthTokenData(
        access_token=body.access_token,
        refresh_token=body.refresh_token,
        token_type=body.token_type,
        expires_at=limits.optional_moment(record.expires_at),
        scope=body.scope,
        metadata=body.metadata,
        created_at=limits.moment(record.created_at),
        updated_at=limits.moment(record.updated_at),
        version=record.version,
    )


def read_credentials(record: SecretRecord) -> ServiceCredentials:
    """The credential in a record; ``CorruptRecord`` when it doesn't read."""
    return ServiceCredentials(
        type=CredentialType(record.place.credential_type),
        data=unpack_json(record),
        expires_at=limits.optional_moment(record.expires_at),
        created_at=limits.moment(record.created_at),
        updated_at=limits.moment(record.updated_at),
        version=record.version,
    )


def _body(place: Place, expires_at: int | None, payload: bytes) -> bytes:
    body = payload[_HEADER_BYTES:]
    if payload[:_HEADER_BYTES] != _FORMAT + _crc(place, expires_at, body):
        raise _corrupt(place)
    return body


def _crc(place: Place, expires_at: int | None, body: bytes) -> bytes:
    bound = "\0".join((place.tenant_hash, place.kind, place.service, place.credential_type, str(expires_at)))
    return crc32(body, crc32(bound.encode())).to_bytes(4)


def _corrupt(place: Place) -> CorruptRecord:
    return CorruptRecord(place.kind, tenant_hash=place.tenant_hash, service=place.service)
