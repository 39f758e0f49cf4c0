"""What the storage holds: records, exchanged between the typed operations, layers and backends.

Times are integers, microseconds since 1970-01-01 UTC. ``payload`` is opaque: plain or sealed, the backend keeps
its bytes. Each record names its place and knows the checksum of what its payload doesn't protect by itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final
from zlib import crc32

import msgspec

from fusion_store._values import Value

_encode: Final = msgspec.msgpack.Encoder().encode


def _checksum(*fields: object) -> int:
    return crc32(_encode(fields))


class Kind(StrEnum):
    """What a secret record holds."""

    OAUTH = "oauth"
    CREDENTIAL = "credential"
    AUTH_CODE = "auth_code"


class Binding(Value, frozen=True, array_like=True):
    """What a payload belongs to and must not be parted from; ``hash`` is an auth code's, else empty."""

    tenant_hash: str
    kind: str
    service: str
    credential_type: str
    expires_at: int | None
    hash: str = ""


class Place(Value, frozen=True, order=True):
    """Where a secret belongs; ``credential_type`` is empty unless ``kind`` is a credential."""

    tenant_hash: str
    kind: Kind
    service: str
    credential_type: str = ""

    def binding(self, expires_at: int | None, hash: str = "") -> Binding:
        """What a payload at this place belongs to."""
        return Binding(self.tenant_hash, self.kind, self.service, self.credential_type, expires_at, hash)


class TenantRecord(Value, frozen=True, tag="tenant", tag_field="record"):
    tenant_hash: str
    created_at: int

    def checksum(self) -> int:
        """CRC-32 over all fields."""
        return _checksum(self.tenant_hash, self.created_at)


class APITokenRecord(Value, frozen=True, tag="api_token", tag_field="record"):
    hash: str
    prefix: str
    tenant_hash: str
    description: str
    scopes: tuple[str, ...]
    created_at: int
    last_used: int | None
    expires_at: int | None

    def checksum(self) -> int:
        """CRC-32 over all fields but ``last_used``, which changes without the rest being read."""
        return _checksum(
            self.hash,
            self.prefix,
            self.tenant_hash,
            self.description,
            self.scopes,
            self.created_at,
            self.expires_at,
        )


class SecretRecord(Value, frozen=True, tag="secret", tag_field="record"):
    """An OAuth token or a service credential."""

    _secret_fields = frozenset({"payload"})

    place: Place
    payload: bytes
    expires_at: int | None
    created_at: int
    updated_at: int
    version: int

    def is_absent(self, now: int) -> bool:
        """Whether the record counts as absent at ``now``: a credential does once it has expired."""
        return self.place.kind is Kind.CREDENTIAL and self.expires_at is not None and self.expires_at <= now

    def binding(self) -> Binding:
        """What the payload belongs to."""
        return self.place.binding(self.expires_at)

    def checksum(self) -> int:
        """CRC-32 over times and version; the payload protects itself, its place and its expiry."""
        return _checksum(self.created_at, self.updated_at, self.version)


class CounterRecord(Value, frozen=True, tag="counter", tag_field="record"):
    """What outlives the record at a place: how often it was stored and claimed; and the claim on it.

    ``claim_fence`` is the number of the claim that may still be committed; None when it has ended.
    ``claim_owner`` and ``claim_deadline`` stand as long as it keeps others out.
    """

    place: Place
    version: int = 0
    fence: int = 0
    claim_fence: int | None = None
    claim_owner: str | None = None
    claim_deadline: int | None = None

    def without_claim(self) -> CounterRecord:
        """The same counters, any claim ended."""
        return CounterRecord(self.place, self.version, self.fence)

    def checksum(self) -> int:
        """CRC-32 over all fields."""
        return _checksum(
            self.place,
            self.version,
            self.fence,
            self.claim_fence,
            self.claim_owner,
            self.claim_deadline,
        )


class AuthCodeRecord(Value, frozen=True, tag="auth_code", tag_field="record"):
    """An auth code; ``hash`` is the code's SHA-256, 64 hex characters."""

    _secret_fields = frozenset({"payload"})

    hash: str
    place: Place
    payload: bytes
    expires_at: int

    def binding(self) -> Binding:
        """What the payload belongs to."""
        return self.place.binding(self.expires_at, self.hash)

    def checksum(self) -> int:
        """CRC-32 over the hash; the payload protects itself, its place and its expiry."""
        return _checksum(self.hash)


class MarkRecord(Value, frozen=True, tag="mark", tag_field="record"):
    """What a store says of itself; precedes the records of a sealed one in an export."""

    name: str
    value: bytes


Record = TenantRecord | APITokenRecord | SecretRecord | CounterRecord | AuthCodeRecord

ExportedRecord = Record | MarkRecord
"""What an export consists of."""
