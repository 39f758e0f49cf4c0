"""Checks records that come from outside, before they are imported."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from fusion_store._errors import InvalidInput
from fusion_store._records import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    ExportedRecord,
    Kind,
    MarkRecord,
    Place,
    SecretRecord,
    TenantRecord,
)
from fusion_store._values import SYSTEM_TENANT
from fusion_store.backend import _limits as limits
from fusion_store.backend._modes import ENCRYPTION_MARK, Mode, mode_of

_MAX_MARK_BYTES: Final = 1024
_is_prefix: Final = re.compile(r"[0-9A-Za-z]{1,8}").fullmatch


def check_record(record: object) -> ExportedRecord:
    """The record without its claim, when each field has its type and keeps the limits; else ``InvalidInput``."""
    if not isinstance(record, ExportedRecord):
        raise InvalidInput("records", "must be records as exported")
    try:
        checked = msgspec.convert(msgspec.to_builtins(record, builtin_types=(bytes,)), ExportedRecord)
    except (msgspec.MsgspecError, TypeError, ValueError):
        checked = None
    if checked is None or checked != record:
        raise InvalidInput("records", f"a malformed {type(record).__struct_config__.tag} record")
    _check_fields(checked)
    return checked.without_claim() if isinstance(checked, CounterRecord) else checked


def _check_fields(record: ExportedRecord) -> None:
    match record:
        case MarkRecord():
            sealed = mode_of(record.value) is Mode.SEALED and len(record.value) <= _MAX_MARK_BYTES
            if record.name != ENCRYPTION_MARK or not sealed:
                raise InvalidInput("records", "a mark that isn't a sealed store's")
        case TenantRecord():
            _hash(record.tenant_hash, "tenant_hash")
            _times(created_at=record.created_at)
        case APITokenRecord():
            _hash(record.hash, "hash")
            _hash(record.tenant_hash, "tenant_hash")
            if record.tenant_hash == SYSTEM_TENANT:
                raise InvalidInput("tenant_hash", "the system tenant has no API tokens")
            if not _is_prefix(record.prefix):
                raise InvalidInput("prefix", "must be 1 to 8 ASCII letters and digits")
            limits.description(record.description)
            limits.scopes(record.scopes, "scopes")
            _times(
                created_at=record.created_at,
                last_used=record.last_used,
                expires_at=record.expires_at,
            )
        case SecretRecord():
            _place(record.place, (Kind.OAUTH, Kind.CREDENTIAL))
            _times(
                created_at=record.created_at,
                updated_at=record.updated_at,
                expires_at=record.expires_at,
            )
            _count(version=record.version)
        case CounterRecord():
            _place(record.place, (Kind.OAUTH, Kind.CREDENTIAL))
            _count(version=record.version, fence=record.fence)
        case AuthCodeRecord():
            _hash(record.hash, "hash")
            _place(record.place, (Kind.AUTH_CODE,))
            _times(expires_at=record.expires_at)


def _hash(value: str, field: str) -> None:
    if limits.record_hash(value, field) is None:
        raise InvalidInput(field, "must be 64 hex characters")


def _place(place: Place, kinds: tuple[Kind, ...]) -> None:
    _hash(place.tenant_hash, "tenant_hash")
    limits.service_name(place.service)
    if place.kind not in kinds:
        raise InvalidInput("kind", "doesn't fit the record")
    if place.kind is Kind.CREDENTIAL:
        limits.credential_type(place.credential_type)
    elif place.credential_type:
        raise InvalidInput("credential_type", "must be empty here")


def _times(**times: int | None) -> None:
    for field, value in times.items():
        if value is not None and not limits.FIRST_MOMENT <= value <= limits.LAST_MOMENT:
            raise InvalidInput(field, "is outside the years 1 to 9999 UTC")


def _count(**counts: int) -> None:
    for field, value in counts.items():
        limits.version(value, field)
