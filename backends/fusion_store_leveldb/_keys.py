"""The key layout: every key of the database is made and read here.

A key is a kind byte and fixed-width or length-prefixed components, so that no byte of a name reaches another range.
Hashes are 32 raw bytes; a time is 8 bytes that sort as it does. What belongs to a tenant lies in one range, which
begins with its tenant record:

    t TENANT 00                              tenant record
    t TENANT 01 CREATED_AT HASH              API token
    t TENANT 02 KIND SERVICE CREDENTIAL_TYPE secret
    t TENANT 03 KIND SERVICE CREDENTIAL_TYPE counter
    t TENANT 04 HASH SERVICE                 auth code

The value of an index entry is the key of its record. Behind that, an API token's entry by hash has a copy of the
record's value, so that a validation reads once; one from before schema 0002 has none until its token is written again:

    h HASH            API token by hash
    o CREATED_AT HASH API tokens in the order of creation
    p PREFIX HASH     API tokens by prefix
    c HASH            auth code by hash

The audit trail lies in a range of its own; CHAIN is 01 and a tenant's hash, or 00 for the store's own chain:

    a 00 CHAIN          where the chain begins and ends
    a 01 CHAIN SEQUENCE record
    a 02 TIME CHAIN SEQUENCE, without a value: records in the order of their times

And the store's own: ``m NAME`` a mark, ``s`` the schema version.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct

from fusion_store.backend import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    Record,
    SecretRecord,
    TenantRecord,
)

SCHEMA: Final = b"s"

_HASH_BYTES: Final = 32
_TIME_BYTES: Final = 8
_PREFIX_BYTES: Final = 8
_TIME_OFFSET: Final = 1 << 63
_SECTION_AT: Final = 1 + _HASH_BYTES
_TOKEN_HASH_AT: Final = _SECTION_AT + 1 + _TIME_BYTES
TOKEN_KEY_BYTES: Final = _TOKEN_HASH_AT + _HASH_BYTES

TENANT_SECTION: Final = 0
TOKEN_SECTION: Final = 1
SECRET_SECTION: Final = 2
COUNTER_SECTION: Final = 3
CODE_SECTION: Final = 4

_SECTION_BYTES: Final = tuple(bytes((section,)) for section in range(CODE_SECTION + 2))
_KIND_BYTES: Final = {Kind.OAUTH: b"\x01", Kind.CREDENTIAL: b"\x02"}
_NO_NAME: Final = b"\0\0"
_KINDS: Final = {byte[0]: kind for kind, byte in _KIND_BYTES.items()}


class Range(NamedTuple):
    """The keys from ``start`` up to and without ``stop``."""

    start: bytes
    stop: bytes


TENANTS: Final = Range(b"t", b"u")
AUDIT: Final = Range(b"a", b"b")
AUDIT_CHAINS: Final = Range(b"a\0", b"a\1")
AUDIT_RECORDS: Final = Range(b"a\1", b"a\2")
AUDIT_TIMES: Final = Range(b"a\2", b"a\3")
TOKENS_BY_HASH: Final = Range(b"h", b"i")
TOKENS_BY_AGE: Final = Range(b"o", b"p")
TOKENS_BY_PREFIX: Final = Range(b"p", b"q")
CODES_BY_HASH: Final = Range(b"c", b"d")
EVERYTHING: Final = Range(b"", b"\xff")


class RecordKey(Struct, frozen=True):
    """A record's key, taken apart; what a section doesn't have is empty."""

    section: int
    tenant_hash: str
    hash: str = ""
    created_at: int = 0
    place: Place | None = None

    @property
    def record_kind(self) -> str:
        """What errors call the record."""
        if self.section == SECRET_SECTION and self.place is not None:
            return self.place.kind
        return ("tenant", "api_token", "secret", "counter", "auth_code")[self.section]

    @property
    def service(self) -> str:
        """The service's name, empty where the record has none."""
        return "" if self.place is None else self.place.service


def tenant(tenant_hash: str) -> bytes:
    """The key of a tenant record."""
    return _in_tenant(tenant_hash, TENANT_SECTION)


def token(tenant_hash: str, created_at: int, hash: str) -> bytes:
    """The key of an API token."""
    return _in_tenant(tenant_hash, TOKEN_SECTION) + _time(created_at) + bytes.fromhex(hash)


def secret(place: Place) -> bytes:
    """The key of an OAuth token or credential."""
    return _in_tenant(place.tenant_hash, SECRET_SECTION) + _place(place)


def counter(place: Place) -> bytes:
    """The key of a place's counters."""
    return _in_tenant(place.tenant_hash, COUNTER_SECTION) + _place(place)


def code(hash: str, place: Place) -> bytes:
    """The key of an auth code."""
    return _in_tenant(place.tenant_hash, CODE_SECTION) + bytes.fromhex(hash) + _name(place.service)


def token_by_hash(hash: str) -> bytes:
    """The index entry of an API token's hash."""
    return b"h" + bytes.fromhex(hash)


def token_by_age(created_at: int, hash: str) -> bytes:
    """The index entry of an API token's place in the order of creation."""
    return b"o" + _time(created_at) + bytes.fromhex(hash)


def token_by_prefix(prefix: str, hash: str) -> bytes:
    """The index entry of an API token's prefix: one per prefix and hash, since prefixes may collide."""
    return b"p" + prefix.encode().ljust(_PREFIX_BYTES, b"\0") + bytes.fromhex(hash)


def code_by_hash(hash: str) -> bytes:
    """The index entry of an auth code's hash."""
    return b"c" + bytes.fromhex(hash)


def mark(name: str) -> bytes:
    """The key of a mark."""
    return b"m" + name.encode()


def is_mark(key: bytes) -> bool:
    """Whether it is a mark's key."""
    return key.startswith(b"m")


def audit_chain(tenant_hash: str) -> bytes:
    """The key of a chain."""
    return AUDIT_CHAINS.start + _chain(tenant_hash)


def audit_record(tenant_hash: str, sequence: int) -> bytes:
    """The key of an audit record."""
    return AUDIT_RECORDS.start + _chain(tenant_hash) + sequence.to_bytes(_TIME_BYTES)


def audit_time(recorded_at: int, tenant_hash: str, sequence: int) -> bytes:
    """The index entry of an audit record's time."""
    return AUDIT_TIMES.start + _time(recorded_at) + _chain(tenant_hash) + sequence.to_bytes(_TIME_BYTES)


def audit_behind(tenant_hash: str, sequence: int | None) -> Range:
    """A chain's records behind one of them; None: all of them."""
    begin = AUDIT_RECORDS.start + _chain(tenant_hash)
    start = begin if sequence is None else audit_record(tenant_hash, sequence) + b"\0"
    return Range(start, begin + b"\xff" * _TIME_BYTES + b"\0")


def audit_times_behind(after: tuple[int, int, str] | None) -> Range:
    """The index entries behind that of a record: (``recorded_at``, ``sequence``, ``tenant_hash``)."""
    if after is None:
        return AUDIT_TIMES
    recorded_at, sequence, tenant_hash = after
    return Range(audit_time(recorded_at, tenant_hash, sequence) + b"\0", AUDIT_TIMES.stop)


def audit_times_before(moment: int) -> Range:
    """The index entries of what was recorded before that moment."""
    return Range(AUDIT_TIMES.start, AUDIT_TIMES.start + _time(moment))


def read_audit_chain(key: bytes) -> str:
    """Whose chain it is, empty for the store's own."""
    return key[3:].hex()


def read_audit_record(key: bytes) -> tuple[str, int]:
    """An audit record's tenant hash and sequence."""
    return key[3:-_TIME_BYTES].hex(), int.from_bytes(key[-_TIME_BYTES:])


def read_audit_time(entry: bytes) -> tuple[int, str, int]:
    """An audit record's time, tenant hash and sequence."""
    at = len(AUDIT_TIMES.start) + _TIME_BYTES
    name, sequence = read_audit_record(entry[at - 2 :])
    return int.from_bytes(entry[at - _TIME_BYTES : at]) - _TIME_OFFSET, name, sequence


def of_record(record: Record) -> bytes:
    """The key that a record belongs at."""
    match record:
        case TenantRecord():
            return tenant(record.tenant_hash)
        case APITokenRecord():
            return token(record.tenant_hash, record.created_at, record.hash)
        case SecretRecord():
            return secret(record.place)
        case CounterRecord():
            return counter(record.place)
        case AuthCodeRecord():
            return code(record.hash, record.place)


def of_token_indexes(token: APITokenRecord) -> tuple[bytes, bytes, bytes]:
    """The index entries of an API token."""
    return (
        token_by_hash(token.hash),
        token_by_age(token.created_at, token.hash),
        token_by_prefix(token.prefix, token.hash),
    )


def split_entry(entry: bytes) -> tuple[bytes, bytes]:
    """The key in an API token's index entry, and the copy of the record's value behind it, which may be empty."""
    return entry[:TOKEN_KEY_BYTES], entry[TOKEN_KEY_BYTES:]


def is_entry_of(entry: bytes, key: bytes) -> bool:
    """Whether an API token with that key may have that index entry, as far as its key tells."""
    at = 1 + _PREFIX_BYTES if entry.startswith(TOKENS_BY_PREFIX.start) else 1
    return len(entry) >= at + _HASH_BYTES and key.endswith(entry[at:])


def token_hash(key: bytes) -> str:
    """The hash of an API token, as far as its key goes."""
    return key[_TOKEN_HASH_AT:].hex()


def token_owner(key: bytes) -> tuple[str, int]:
    """The tenant of an API token and when it was made, as far as its key goes."""
    return key[1:_SECTION_AT].hex(), int.from_bytes(key[_SECTION_AT + 1 : _TOKEN_HASH_AT]) - _TIME_OFFSET


def tenant_range(tenant_hash: str) -> Range:
    """All that belongs to a tenant, its record first."""
    start = b"t" + bytes.fromhex(tenant_hash)
    return Range(start, start + b"\xff")


def section_range(tenant_hash: str, section: int) -> Range:
    """One section of what belongs to a tenant."""
    return Range(_in_tenant(tenant_hash, section), _in_tenant(tenant_hash, section + 1))


def secrets_range(tenant_hash: str, kind: Kind) -> Range:
    """A tenant's secrets of one kind."""
    return _beginning_with(_in_tenant(tenant_hash, SECRET_SECTION) + _KIND_BYTES[kind])


def tenants_behind(tenant_hash: str | None) -> Range:
    """All that belongs to the tenants behind that hash; None: to all, the system tenant included."""
    return TENANTS if tenant_hash is None else Range(tenant_range(tenant_hash).stop, TENANTS.stop)


def tokens_behind(tenant_hash: str | None, after: tuple[int, str] | None) -> Range:
    """A tenant's tokens, or the index of all by age, behind a (``created_at``, ``hash``)."""
    whole = TOKENS_BY_AGE if tenant_hash is None else section_range(tenant_hash, TOKEN_SECTION)
    if after is None:
        return whole
    at = token_by_age(*after) if tenant_hash is None else token(tenant_hash, *after)
    return Range(at + b"\0", whole.stop)


def hash_prefix_range(index: Range, prefix: str) -> Range | None:
    """The entries of an index by hash (or the tenants) whose hash begins with ``prefix``; None when none can."""
    if len(prefix) > 2 * _HASH_BYTES or not set(prefix) <= set("0123456789abcdef"):
        return None
    first, last = (bytes.fromhex(prefix.ljust(2 * _HASH_BYTES, digit)) for digit in "0f")
    return Range(index.start + first, index.start + last + b"\xff")


def token_prefix_range(prefix: str) -> Range | None:
    """The index entries of tokens whose prefix begins with ``prefix``; None when none can."""
    if not (prefix.isascii() and prefix.isalnum()) or len(prefix) > _PREFIX_BYTES:
        return None
    return _beginning_with(b"p" + prefix.encode())


def tenant_of(key: bytes) -> str:
    """The hash of the tenant that a key of the range ``TENANTS`` belongs to, as far as the key goes."""
    return key[1:_SECTION_AT].hex()


def section_of(key: bytes) -> int:
    """The section of a key of the range ``TENANTS``; -1 when it has none."""
    return key[_SECTION_AT] if len(key) > _SECTION_AT else -1


def next_tenant(key: bytes) -> bytes:
    """Where the tenants behind the one that ``key`` belongs to begin."""
    return key[:_SECTION_AT] + b"\xff"


def read(key: bytes) -> RecordKey:
    """A record's key, taken apart; ``ValueError`` when it isn't one."""
    if len(key) <= _SECTION_AT or not key.startswith(TENANTS.start):
        raise ValueError("not a record's key")
    section, tenant_hash = key[_SECTION_AT], key[1:_SECTION_AT].hex()
    if section == TOKEN_SECTION and len(key) == TOKEN_KEY_BYTES:
        created_at = int.from_bytes(key[_SECTION_AT + 1 : -_HASH_BYTES]) - _TIME_OFFSET
        return RecordKey(TOKEN_SECTION, tenant_hash, key[-_HASH_BYTES:].hex(), created_at)
    rest = key[_SECTION_AT + 1 :]
    match section:
        case 0 if not rest:
            return RecordKey(section, tenant_hash)
        case 2 | 3 if rest and rest[0] in _KINDS:
            service, end = _read_name(rest, 1)
            credential_type, end = _read_name(rest, end)
            if end == len(rest):
                return RecordKey(
                    section, tenant_hash, place=Place(tenant_hash, _KINDS[rest[0]], service, credential_type)
                )
        case 4 if len(rest) > _HASH_BYTES:
            service, end = _read_name(rest, _HASH_BYTES)
            if end == len(rest):
                place = Place(tenant_hash, Kind.AUTH_CODE, service)
                return RecordKey(section, tenant_hash, rest[:_HASH_BYTES].hex(), place=place)
    raise ValueError("not a record's key")


def _beginning_with(start: bytes) -> Range:
    """The keys that begin with ``start``, whose last byte is not FF."""
    return Range(start, start[:-1] + bytes((start[-1] + 1,)))


def _in_tenant(tenant_hash: str, section: int) -> bytes:
    return b"t" + bytes.fromhex(tenant_hash) + _SECTION_BYTES[section]


def _chain(tenant_hash: str) -> bytes:
    return b"\1" + bytes.fromhex(tenant_hash) if tenant_hash else b"\0"


def _time(micros: int) -> bytes:
    return (micros + _TIME_OFFSET).to_bytes(_TIME_BYTES)


def _place(place: Place) -> bytes:
    return _KIND_BYTES[place.kind] + _name(place.service) + _name(place.credential_type)


def _name(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2) + encoded if encoded else _NO_NAME


def _read_name(data: bytes, at: int) -> tuple[str, int]:
    start = at + 2
    end = start + int.from_bytes(data[at:start])
    if end > len(data):
        raise ValueError("a name ends early")
    return data[start:end].decode(), end
