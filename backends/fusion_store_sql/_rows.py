"""Rows to records and back. What doesn't read as it was written is ``CorruptRecord``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeGuard, TypeVar

import msgspec
from sqlalchemy import Table

from fusion_store import CorruptRecord
from fusion_store.backend import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    Record,
    SecretRecord,
    TenantRecord,
    is_moment,
)
from fusion_store_sql import _schema as schema

Row = Mapping[str, Any]
R = TypeVar("R", TenantRecord, APITokenRecord, SecretRecord, CounterRecord, AuthCodeRecord)
S = TypeVar("S", APITokenRecord, SecretRecord)

SECRET_TABLES: Final = {Kind.OAUTH: schema.oauth_tokens, Kind.CREDENTIAL: schema.service_credentials}
_encode_scopes: Final = msgspec.json.Encoder().encode
_decode_scopes: Final = msgspec.json.Decoder(tuple[str, ...]).decode


def table_of(record: Record) -> Table:
    """The table that a record lives in."""
    match record:
        case TenantRecord():
            return schema.tenants
        case APITokenRecord():
            return schema.api_tokens
        case SecretRecord():
            return SECRET_TABLES[record.place.kind]
        case CounterRecord():
            return schema.counters
        case AuthCodeRecord():
            return schema.auth_codes


def to_row(record: Record) -> dict[str, Any]:
    """The columns of a record."""
    row = msgspec.structs.asdict(record)
    row["checksum"] = record.checksum()
    if isinstance(record, APITokenRecord):
        row["scopes"] = _encode_scopes(record.scopes).decode()
    elif not isinstance(record, TenantRecord):
        row |= place_columns(row.pop("place"), table_of(record))
    return row


def values(record: Record) -> list[Any]:
    """The columns of a record, in the table's order."""
    row = to_row(record)
    return [row[column.name] for column in table_of(record).c]


def place_columns(place: Place, table: Table) -> dict[str, str]:
    """The columns of a place that a table has."""
    columns = msgspec.structs.asdict(place)
    return {name: str(value) for name, value in columns.items() if name in table.c}


def tenant(row: Row) -> TenantRecord:
    """The tenant in a row of ``tenants``."""
    record = TenantRecord(row["tenant_hash"], row["created_at"])
    return _verified(record, row["checksum"], "tenant", record.tenant_hash)


def api_token(row: Sequence[Any]) -> APITokenRecord:
    """The token in a row of ``api_tokens``, its columns in the table's order."""
    hash, prefix, tenant_hash, description, scopes, created_at, last_used, expires_at, checksum = row
    try:
        granted = _decode_scopes(scopes)
    except (msgspec.MsgspecError, TypeError, UnicodeError):
        raise _corrupt("api_token", tenant_hash) from None
    record = APITokenRecord(hash, prefix, tenant_hash, description, granted, created_at, last_used, expires_at)
    # No checksum covers it.
    if not (last_used is None or (isinstance(last_used, int) and is_moment(last_used))):
        raise _corrupt("api_token", tenant_hash)
    return _verified(record, checksum, "api_token", tenant_hash)


def oauth_token(row: Sequence[Any]) -> SecretRecord:
    """The record in a row of ``oauth_tokens``, its columns in the table's order."""
    return _secret(Place(row[0], Kind.OAUTH, row[1]), row[2:])


def credential(row: Sequence[Any]) -> SecretRecord:
    """The record in a row of ``service_credentials``, its columns in the table's order."""
    return _secret(Place(row[0], Kind.CREDENTIAL, row[1], row[2]), row[3:])


SECRET_READERS: Final = {Kind.OAUTH: oauth_token, Kind.CREDENTIAL: credential}


def by_name(read: Callable[[Sequence[Any]], S]) -> Callable[[Row], S]:
    """The same for a row whose columns, in the table's order, have names."""
    return lambda row: read(tuple(row.values()))


def _secret(place: Place, columns: Sequence[Any]) -> SecretRecord:
    payload, expires_at, created_at, updated_at, version, checksum = columns
    if not (_is_readable(place) and isinstance(payload, bytes) and _is_optional_int(expires_at)):
        raise _corrupt(place.kind, place.tenant_hash, place.service)
    record = SecretRecord(place, payload, expires_at, created_at, updated_at, version)
    return _verified(record, checksum, place.kind, place.tenant_hash, place.service)


def counter(row: Row) -> CounterRecord:
    """The counters in a row of ``counters``."""
    place = Place(row["tenant_hash"], row["kind"], row["service"], row["credential_type"])
    record = CounterRecord(
        place,
        version=row["version"],
        fence=row["fence"],
        claim_fence=row["claim_fence"],
        claim_owner=row["claim_owner"],
        claim_deadline=row["claim_deadline"],
    )
    _verified(record, row["checksum"], "counter", place.tenant_hash, place.service)
    return msgspec.structs.replace(record, place=msgspec.structs.replace(place, kind=Kind(place.kind)))


def auth_code(row: Row) -> AuthCodeRecord:
    """The code in a row of ``auth_codes``."""
    place = Place(row["tenant_hash"], Kind.AUTH_CODE, row["service"])
    payload, expires_at = row["payload"], row["expires_at"]
    if not (_is_readable(place) and isinstance(payload, bytes) and isinstance(expires_at, int)):
        raise _corrupt(Kind.AUTH_CODE, place.tenant_hash, place.service)
    record = AuthCodeRecord(row["hash"], place, payload, expires_at)
    return _verified(record, row["checksum"], Kind.AUTH_CODE, place.tenant_hash, place.service)


def _verified(record: R, checksum: object, kind: str, tenant_hash: object, service: object = "") -> R:
    try:
        sound = record.checksum() == checksum
    except (TypeError, ValueError, OverflowError):
        sound = False
    if not sound:
        raise _corrupt(kind, tenant_hash, service)
    return record


def _is_readable(place: Place) -> bool:
    """Whether each name in it is text."""
    return all(map(is_text, (place.tenant_hash, place.service, place.credential_type)))


def is_text(value: object) -> TypeGuard[str]:
    """Whether text was read: SQLite keeps anything in any column, MariaDB any bytes, which come out as surrogates."""
    return isinstance(value, str) and (value.isascii() or not any(0xD800 <= ord(each) < 0xE000 for each in value))


def _is_optional_int(value: object) -> bool:
    return value is None or isinstance(value, int)


def _corrupt(kind: str, tenant_hash: object, service: object = "") -> CorruptRecord:
    return CorruptRecord(kind, tenant_hash=_text(tenant_hash), service=_text(service))


def _text(value: object) -> str:
    return value.encode(errors="replace").decode(errors="replace") if isinstance(value, str) else ""
