"""Rows to records and back. What doesn't read as it was written is ``CorruptRecord``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

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
)
from fusion_store_sql import _schema as schema

Row = Mapping[str, Any]
R = TypeVar("R", TenantRecord, APITokenRecord, SecretRecord, CounterRecord, AuthCodeRecord)

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


def place_columns(place: Place, table: Table) -> dict[str, str]:
    """The columns of a place that a table has."""
    columns = msgspec.structs.asdict(place)
    return {name: str(value) for name, value in columns.items() if name in table.c}


def tenant(row: Row) -> TenantRecord:
    """The tenant in a row of ``tenants``."""
    record = TenantRecord(row["tenant_hash"], row["created_at"])
    return _verified(record, row, "tenant", record.tenant_hash)


def api_token(row: Row) -> APITokenRecord:
    """The token in a row of ``api_tokens``."""
    try:
        scopes = _decode_scopes(row["scopes"])
    except (msgspec.MsgspecError, TypeError, UnicodeError):
        raise CorruptRecord("api_token", tenant_hash=_text(row["tenant_hash"])) from None
    record = APITokenRecord(
        hash=row["hash"],
        prefix=row["prefix"],
        tenant_hash=row["tenant_hash"],
        description=row["description"],
        scopes=scopes,
        created_at=row["created_at"],
        last_used=_optional_int(row, "last_used", "api_token"),
        expires_at=row["expires_at"],
    )
    return _verified(record, row, "api_token", record.tenant_hash)


def secret(row: Row, kind: Kind) -> SecretRecord:
    """The record in a row of ``oauth_tokens`` or ``service_credentials``."""
    place = Place(row["tenant_hash"], kind, row["service"], row.get("credential_type", ""))
    record = SecretRecord(
        place,
        payload=_payload(row, kind),
        expires_at=_optional_int(row, "expires_at", kind),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )
    return _verified(record, row, kind, place.tenant_hash, place.service)


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
    _verified(record, row, "counter", place.tenant_hash, place.service)
    return msgspec.structs.replace(record, place=msgspec.structs.replace(place, kind=Kind(place.kind)))


def auth_code(row: Row) -> AuthCodeRecord:
    """The code in a row of ``auth_codes``."""
    place = Place(row["tenant_hash"], Kind.AUTH_CODE, row["service"])
    record = AuthCodeRecord(
        row["hash"],
        place,
        payload=_payload(row, Kind.AUTH_CODE),
        expires_at=row["expires_at"],
    )
    if not isinstance(record.expires_at, int):
        raise _corrupt(row, Kind.AUTH_CODE)
    return _verified(record, row, Kind.AUTH_CODE, place.tenant_hash, place.service)


def _verified(record: R, row: Row, kind: str, tenant_hash: object, service: object = "") -> R:
    try:
        sound = record.checksum() == row["checksum"]
    except (TypeError, ValueError, OverflowError):
        sound = False
    if not sound:
        raise CorruptRecord(kind, tenant_hash=_text(tenant_hash), service=_text(service))
    return record


def _payload(row: Row, kind: str) -> bytes:
    payload = row["payload"]
    if not isinstance(payload, bytes):
        raise _corrupt(row, kind)
    return payload


def _optional_int(row: Row, column: str, kind: str) -> int | None:
    value = row[column]
    if value is not None and not isinstance(value, int):
        raise _corrupt(row, kind)
    return value


def _corrupt(row: Row, kind: str) -> CorruptRecord:
    return CorruptRecord(kind, tenant_hash=_text(row["tenant_hash"]), service=_text(row.get("service", "")))


def _text(value: object) -> str:
    return value.encode(errors="replace").decode(errors="replace") if isinstance(value, str) else ""
