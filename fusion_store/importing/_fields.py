"""Reads the JSON objects in which MCPFusion keeps its records into our own records, checked against our limits.

Each function raises ``InvalidInput``, which names the field and never the value. Times are RFC 3339 as Go writes
them, with up to nine digits behind the second; those beyond microseconds are cut off, and Go's zero time,
0001-01-01T00:00:00Z, means none. Where a record has no time of its own, ``time`` (microseconds) stands in.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from fusion_store._errors import InvalidInput
from fusion_store._records import APITokenRecord, Kind, Place, SecretRecord
from fusion_store._values import CredentialType, OAuthTokenData
from fusion_store.backend import _limits as limits
from fusion_store.backend import _payloads as payloads
from fusion_store.backend._check import check_record

_FIRST_VERSION: Final = 1
_CREDENTIAL_TYPES: Final = {"basic": CredentialType.BASIC_AUTH, **{str(each): each for each in CredentialType}}
_read_time: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII).fullmatch


class _APIToken(msgspec.Struct):
    hash: str
    prefix: str
    description: str = ""
    created_at: str | None = None
    last_used: str | None = None


class _OAuthToken(msgspec.Struct):
    access_token: str
    refresh_token: str | None = None
    token_type: str | None = None
    expires_at: str | None = None
    scope: list[str] | None = None
    metadata: dict[str, str] | None = None
    created_at: str | None = None
    updated_at: str | None = None


class _Credential(msgspec.Struct):
    data: dict[str, Any]
    type: str = ""
    created_at: str | None = None
    updated_at: str | None = None


T = TypeVar("T", bound=msgspec.Struct)


class RecordReader:
    """Reads records; ``unknown`` counts the fields that we have no place for."""

    def __init__(self, time: int) -> None:
        self._time = time
        self.unknown = 0

    def api_token(self, document: object, hash: str) -> APITokenRecord:
        """The token of that hash, in a tenant of its own."""
        fields = self._fields(document, _APIToken)
        if fields.hash != hash:
            raise InvalidInput("hash", "isn't that of the key it stands under")
        last_used = _micros(fields.last_used, "last_used")
        created_at = _first(_micros(fields.created_at, "created_at"), last_used, self._time)
        token = APITokenRecord(
            hash,
            fields.prefix,
            tenant_hash=hash,
            description=fields.description,
            scopes=(),
            created_at=created_at,
            last_used=last_used,
            expires_at=None,
        )
        check_record(token)
        return token

    def oauth_token(self, document: object, tenant_hash: str, service: str) -> SecretRecord:
        """The OAuth token for that service."""
        fields = self._fields(document, _OAuthToken)
        expires_at = _micros(fields.expires_at, "expires_at")
        token = limits.oauth_token(
            OAuthTokenData(
                fields.access_token,
                fields.refresh_token or None,
                fields.token_type or "Bearer",
                limits.optional_moment(expires_at),
                # Go splits an absent scope into one empty string.
                tuple(filter(None, fields.scope or ())),
                fields.metadata or {},
            )
        )
        place = Place(tenant_hash, Kind.OAUTH, service)
        payload = payloads.pack_oauth(place.binding(expires_at), token)
        return self._secret(place, payload, expires_at, fields)

    def credential(
        self, document: object, tenant_hash: str, service: str, folder: CredentialType | None
    ) -> SecretRecord:
        """The credential for that service; ``folder`` is the type of the bucket it stands in, where that has one."""
        fields = self._fields(document, _Credential)
        type = _CREDENTIAL_TYPES.get(fields.type) if fields.type else folder
        if type is None or folder not in (None, type):
            raise InvalidInput("type", "is none of ours, or not that of the bucket it stands in")
        place = Place(tenant_hash, Kind.CREDENTIAL, service, type)
        body = limits.json_object(fields.data, "data", limits.MAX_CREDENTIAL_BYTES)
        return self._secret(place, payloads.pack_json(place.binding(None), body), None, fields)

    def _fields(self, document: object, kind: type[T]) -> T:
        try:
            fields = msgspec.convert(document, kind)
        except msgspec.ValidationError as error:
            # Says which type stands where which one is expected.
            reason = str(error)
        else:
            assert isinstance(document, dict)
            self.unknown += len(document.keys() - set(kind.__struct_fields__))
            return fields
        raise InvalidInput("record", reason)

    def _secret(
        self, place: Place, payload: bytes, expires_at: int | None, times: _OAuthToken | _Credential
    ) -> SecretRecord:
        updated_at = _micros(times.updated_at, "updated_at")
        created_at = _first(_micros(times.created_at, "created_at"), updated_at, self._time)
        record = SecretRecord(
            place, payload, expires_at, created_at, _first(updated_at, created_at), version=_FIRST_VERSION
        )
        check_record(record)
        return record


def _micros(text: str | None, field: str) -> int | None:
    """A time as microseconds since 1970-01-01 UTC; None for none and for Go's zero time."""
    if text is None:
        return None
    match = _read_time(text)
    try:
        whole = datetime.fromisoformat(match[1] + match[3]) if match else None
    except ValueError:
        whole = None
    if match is None or whole is None:
        raise InvalidInput(field, "must be a time as in RFC 3339")
    micros = limits.micros(whole, field) + int(f"{match[2] or '':0<6.6}")
    return None if micros == limits.FIRST_MOMENT else micros


def _first(*times: int | None) -> int:
    return next(time for time in times if time is not None)
