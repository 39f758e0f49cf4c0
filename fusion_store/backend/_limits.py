"""The limits on what callers pass, the same for every backend: checked here and nowhere else.

Each function answers the value in the form the kit works with, or raises ``InvalidInput`` naming the field.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

import msgspec

from fusion_store._errors import InvalidInput
from fusion_store._values import CredentialType, OAuthTokenData

MAX_SERVICE_BYTES: Final = 255
MAX_DESCRIPTION_CHARS: Final = 256
MAX_SCOPES: Final = 64
MAX_SCOPE_CHARS: Final = 128
MAX_OWNER_CHARS: Final = 128
MAX_TOKEN_TYPE_CHARS: Final = 128
MAX_TOKEN_BYTES: Final = 64 * 1024
MAX_METADATA_BYTES: Final = 16 * 1024
MAX_CREDENTIAL_BYTES: Final = 64 * 1024
MAX_CODE_PAYLOAD_BYTES: Final = 16 * 1024
MAX_JSON_DEPTH: Final = 16
MIN_PREFIX_CHARS: Final = 4
MAX_PAGE: Final = 1_000_000

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
FIRST_MOMENT: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
LAST_MOMENT: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_MAX_INT: Final = 2**63 - 1

_is_hash: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_is_plain_name: Final = re.compile(r"[!-~]{1,255}").fullmatch
_read_cursor: Final = re.compile(r"(-?[0-9]{1,18})\.([0-9a-f]{64})").fullmatch
_read_audit_cursor: Final = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,18})\.((?:[0-9a-f]{64})?)").fullmatch
_json_encode: Final = msgspec.json.Encoder().encode


def _refuse(field: str, reason: str) -> NoReturn:
    raise InvalidInput(field, reason)


def _string(value: object, field: str) -> str:
    if not isinstance(value, str):
        _refuse(field, "must be a string")
    if "\0" in value:
        _refuse(field, "must not contain NUL")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidInput(field, "must not contain surrogates") from None
    return value if type(value) is str else str.__str__(value)


def _sized_string(value: object, field: str, *, most: int, least: int = 1) -> str:
    text = _string(value, field)
    if not least <= len(text) <= most:
        _refuse(field, f"must have {least} to {most} characters, has {len(text)}")
    return text


def is_hash(text: str) -> bool:
    """Whether it can be the hash of something."""
    return _is_hash(text) is not None


def record_hash(value: object, field: str) -> str | None:
    """``value`` if it can be the hash of something; None for a string that can't be."""
    if type(value) is str and _is_hash(value):
        return value
    text = _string(value, field)
    return text if _is_hash(text) else None


def service_name(value: object, field: str = "service") -> str:
    """1 to 255 bytes of UTF-8 in NFC, no control characters, no outer white space."""
    if type(value) is str and _is_plain_name(value):
        return value
    text = _string(value, field)
    if not 1 <= len(text.encode()) <= MAX_SERVICE_BYTES:
        _refuse(field, f"must have 1 to {MAX_SERVICE_BYTES} bytes of UTF-8")
    if text != text.strip():
        _refuse(field, "must not begin or end with white space")
    if any(unicodedata.category(character) == "Cc" for character in text):
        _refuse(field, "must not contain control characters")
    if not unicodedata.is_normalized("NFC", text):
        _refuse(field, "must be in Unicode normalization form C")
    return text


def credential_type(value: object, field: str = "credential_type") -> CredentialType:
    """One of the credential types, also given as its string."""
    try:
        return CredentialType(str(value))
    except ValueError:
        known = ", ".join(CredentialType)
        raise InvalidInput(field, f"must be one of {known}") from None


def description(value: object) -> str:
    """Up to 256 characters."""
    return _sized_string(value, "description", least=0, most=MAX_DESCRIPTION_CHARS)


def owner(value: object) -> str:
    """1 to 128 characters."""
    return _sized_string(value, "owner", most=MAX_OWNER_CHARS)


def scopes(value: object, field: str) -> tuple[str, ...]:
    """Up to 64 strings of 1 to 128 characters, without white space or control characters."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        _refuse(field, "must be a sequence of strings")
    if len(value) > MAX_SCOPES:
        _refuse(field, f"must have at most {MAX_SCOPES} entries, has {len(value)}")
    texts = tuple(_sized_string(entry, field, most=MAX_SCOPE_CHARS) for entry in value)
    if any(c.isspace() or unicodedata.category(c) == "Cc" for text in texts for c in text):
        _refuse(field, "must not contain white space or control characters")
    return texts


def micros(value: object, field: str) -> int:
    """An aware datetime as microseconds since 1970-01-01 UTC."""
    if not isinstance(value, datetime):
        _refuse(field, "must be a datetime")
    if value.utcoffset() is None:
        _refuse(field, "must have a time zone")
    result = (value - _EPOCH) // _MICROSECOND
    if not FIRST_MOMENT <= result <= LAST_MOMENT:
        _refuse(field, "is outside the years 1 to 9999 UTC")
    return result


def optional_micros(value: object, field: str) -> int | None:
    """As ``micros``; None stays None."""
    return None if value is None else micros(value, field)


def moment(value: int) -> datetime:
    """Microseconds since 1970-01-01 UTC as a datetime."""
    return _EPOCH + timedelta(0, 0, value)


def is_moment(value: int) -> bool:
    """Whether a datetime can say it."""
    return FIRST_MOMENT <= value <= LAST_MOMENT


def optional_moment(value: int | None) -> datetime | None:
    """As ``moment``; None stays None."""
    return None if value is None else moment(value)


def later(now: int, duration: object, field: str, *, least: timedelta = _MICROSECOND) -> int:
    """``now`` plus a duration of at least ``least``."""
    if not isinstance(duration, timedelta):
        _refuse(field, "must be a timedelta")
    if duration < least:
        _refuse(field, "must not be negative" if not least else "must be positive")
    result = now + duration // _MICROSECOND
    if result > LAST_MOMENT:
        _refuse(field, "ends after the year 9999")
    return result


def version(value: object, field: str = "expected_version") -> int | None:
    """A version number from 0, or None."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_INT:
        _refuse(field, "must be a whole number from 0, or None")
    return value


def page_size(value: object) -> int:
    """1 to 1,000,000."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_PAGE:
        _refuse("limit", f"must be a whole number from 1 to {MAX_PAGE}")
    return value


def token_cursor(value: object) -> tuple[int, str] | None:
    """An ``APITokenMetadata.cursor`` as (``created_at``, ``hash``), or None."""
    if value is None:
        return None
    match = _read_cursor(_string(value, "after"))
    if match is None:
        _refuse("after", "must be the cursor of a listed token")
    return int(match[1]), match[2]


def audit_cursor(value: object) -> tuple[int, int, str] | None:
    """An ``AuditRecord.cursor`` as (``recorded_at``, ``sequence``, ``tenant_hash``), or None."""
    if value is None:
        return None
    match = _read_audit_cursor(_string(value, "after"))
    if match is None:
        _refuse("after", "must be the cursor of a listed audit record")
    return int(match[1]), int(match[2]), match[3]


def tenant_cursor(value: object) -> str | None:
    """A ``TenantInfo.cursor``, or None."""
    if value is None:
        return None
    if record_hash(value, "after") is None:
        _refuse("after", "must be the cursor of a listed tenant")
    return str(value)


def identifier(value: object, field: str) -> str:
    """A hash or a prefix of at least 4 characters."""
    text = _string(value, field)
    if len(text) < MIN_PREFIX_CHARS:
        _refuse(field, f"must have at least {MIN_PREFIX_CHARS} characters")
    return text


def token_prefix(value: object) -> str | None:
    """A configured token prefix: 1 to 16 letters, digits and inner underscores, or None."""
    if value is None:
        return None
    text = _string(value, "token_prefix")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,15}", text) or text.endswith("_"):
        _refuse(
            "token_prefix",
            "must be 1 to 16 ASCII letters, digits and inner underscores, a letter first",
        )
    return text


def oauth_token(token: object) -> OAuthTokenData:
    """The fields that a caller sets, each checked; the store's own fields are left at their defaults."""
    if not isinstance(token, OAuthTokenData):
        _refuse("token", "must be an OAuthTokenData")
    optional_micros(token.expires_at, "expires_at")
    return OAuthTokenData(
        access_token=_secret(token.access_token, "access_token"),
        refresh_token=None if token.refresh_token is None else _secret(token.refresh_token, "refresh_token"),
        token_type=_sized_string(token.token_type, "token_type", most=MAX_TOKEN_TYPE_CHARS),
        expires_at=token.expires_at,
        scope=scopes(token.scope, "scope"),
        metadata=_metadata(token.metadata),
    )


def _secret(value: object, field: str) -> str:
    text = _string(value, field)
    if not 1 <= len(text.encode()) <= MAX_TOKEN_BYTES:
        _refuse(field, f"must have 1 to {MAX_TOKEN_BYTES} bytes of UTF-8")
    return text


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        _refuse("metadata", "must be a mapping of strings to strings")
    texts = {_string(key, "metadata"): _string(text, "metadata") for key, text in value.items()}
    if len(_json_encode(texts)) > MAX_METADATA_BYTES:
        _refuse("metadata", f"must have at most {MAX_METADATA_BYTES} bytes as JSON")
    return texts


def json_object(value: object, field: str, most: int) -> bytes:
    """A JSON object as JSON: at most ``most`` bytes and 16 deep, integers within 64 bits, no NaN."""
    if type(value) is not dict:
        _refuse(field, "must be a JSON object (a dict)")
    _check_json(value, field, depth=1)
    encoded = _json_encode(value)
    if len(encoded) > most:
        _refuse(field, f"must have at most {most} bytes as JSON")
    return encoded


def _check_json(value: Any, field: str, depth: int) -> None:
    kind = type(value)
    if kind in (dict, list):
        if depth > MAX_JSON_DEPTH:
            _refuse(field, f"must be at most {MAX_JSON_DEPTH} deep")
        if kind is dict:
            for key in value:
                _check_json_string(key, field)
        for entry in value.values() if kind is dict else value:
            _check_json(entry, field, depth + 1)
    elif kind is float:
        if not math.isfinite(value):
            _refuse(field, "must not contain NaN or infinity")
    elif kind is int:
        if not -_MAX_INT - 1 <= value <= _MAX_INT:
            _refuse(field, "must not contain integers beyond 64 bits")
    elif kind is not bool and value is not None:
        _check_json_string(value, field)


def _check_json_string(value: object, field: str) -> None:
    if type(value) is not str:
        _refuse(field, "must contain plain JSON values only")
    _string(value, field)
