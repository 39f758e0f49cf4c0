"""The values that the typed operations take and return.

All are immutable. Times are timezone-aware UTC datetimes with microseconds. A value that holds a secret
keeps it out of ``repr`` and ``str`` and refuses to be pickled; it is read by attribute only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Final

import msgspec

from fusion_store._errors import InvalidInput

SYSTEM_TENANT: Final = "0" * 64
"""The tenant hash of the host's own tenant: always there, never listed, never deleted."""

_REDACTED: Final = "[redacted]"
_NEVER_STORED: Final = datetime.fromtimestamp(0, UTC)


class CredentialType(StrEnum):
    """What kind of service credential a record holds."""

    API_KEY = "api_key"
    BEARER = "bearer"
    BASIC_AUTH = "basic_auth"
    CUSTOM = "custom"


class Value(msgspec.Struct, frozen=True):
    """The base of all values. Fields named in ``_secret_fields`` are shown as ``[redacted]``."""

    _secret_fields: ClassVar[frozenset[str]] = frozenset()

    def _shown(self) -> Iterator[tuple[str, Any]]:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            yield name, _REDACTED if name in self._secret_fields and value is not None else value

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._shown())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return list(self._shown())

    def __reduce__(self) -> tuple[Any, ...]:
        if self._secret_fields:
            raise TypeError(f"{type(self).__name__} holds secrets and can't be pickled")
        return type(self), tuple(getattr(self, name) for name in self.__struct_fields__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Value:
        return type(self)(*(deepcopy(getattr(self, name), memo) for name in self.__struct_fields__))


class APITokenMetadata(Value, frozen=True):
    """What the vault knows of an API token; the token itself is kept nowhere."""

    hash: str
    """SHA-256 of the token, 64 hex characters."""
    prefix: str
    """The first 8 characters of the token's random part."""
    tenant_hash: str
    description: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used: datetime | None
    """When the token was last validated; None: never."""
    expires_at: datetime | None
    """From this moment on the token isn't valid; None: it doesn't expire."""

    @property
    def token_id(self) -> str:
        """The first 16 characters of the hash: what logs and screens show."""
        return self.hash[:16]

    @property
    def tenant_id(self) -> str:
        """The first 16 characters of the tenant hash: what logs and screens show."""
        return self.tenant_hash[:16]

    @property
    def cursor(self) -> str:
        """This token's place in ``list_api_tokens``, opaque; it works on when the token is gone."""
        micros = (self.created_at - _NEVER_STORED) // timedelta(microseconds=1)
        return f"{micros}.{self.hash}"


class IssuedToken(Value, frozen=True):
    """A new API token, shown this once."""

    _secret_fields = frozenset({"token"})

    token: str
    metadata: APITokenMetadata

    @property
    def hash(self) -> str:
        """``metadata.hash``."""
        return self.metadata.hash


class OAuthTokenData(Value, frozen=True):
    """An upstream OAuth token (RFC 6749, section 5.1).

    A caller sets the first six; ``created_at``, ``updated_at`` and ``version`` are the store's, and
    ignored on the way in. ``version`` is 0 before the token is stored.
    """

    _secret_fields = frozenset({"access_token", "refresh_token", "metadata"})

    access_token: str
    refresh_token: str | None = None
    token_type: str = "Bearer"
    expires_at: datetime | None = None
    scope: tuple[str, ...] = ()
    metadata: Mapping[str, str] = {}
    created_at: datetime = _NEVER_STORED
    updated_at: datetime = _NEVER_STORED
    version: int = 0

    @property
    def has_refresh_token(self) -> bool:
        """Whether the token can be refreshed."""
        return self.refresh_token is not None

    def is_expired(self, buffer: timedelta = timedelta(0), now: datetime | None = None) -> bool:
        """Whether the token has ``buffer`` or less of its life left at ``now`` (the system's clock when
        None). A token without expiry never expires. A naive time is ``InvalidInput``."""
        moment = datetime.now(UTC) if now is None else now
        for field, value in (("expires_at", self.expires_at), ("now", moment)):
            if value is not None and value.utcoffset() is None:
                raise InvalidInput(field, "must have a time zone")
        return self.expires_at is not None and self.expires_at - moment <= buffer


class ServiceCredentials(Value, frozen=True):
    """A service's credential: a JSON object whose form depends on ``type``.

    Past ``expires_at`` the record is absent. ``created_at``, ``updated_at`` and ``version`` are the store's.
    """

    _secret_fields = frozenset({"data"})

    type: CredentialType
    data: dict[str, Any]
    expires_at: datetime | None = None
    created_at: datetime = _NEVER_STORED
    updated_at: datetime = _NEVER_STORED
    version: int = 0


class TenantInfo(Value, frozen=True):
    """A tenant and how much it holds; expired credentials aren't counted."""

    tenant_hash: str
    created_at: datetime
    api_tokens: int
    oauth_tokens: int
    credentials: int

    @property
    def tenant_id(self) -> str:
        """The first 16 characters of the tenant hash: what logs and screens show."""
        return self.tenant_hash[:16]

    @property
    def cursor(self) -> str:
        """This tenant's place in ``list_tenants``; it works on when the tenant is gone."""
        return self.tenant_hash


class AuthCode(Value, frozen=True):
    """What a redeemed auth code stands for."""

    _secret_fields = frozenset({"payload"})

    tenant_hash: str
    service: str
    expires_at: datetime
    payload: dict[str, Any]


class RefreshClaim(Value, frozen=True):
    """The right to refresh one tenant's token for one service, until ``deadline``."""

    tenant_hash: str
    service: str
    owner: str
    token_version: int
    """Version of the token when the claim was taken; 0 where none was ever stored."""
    fence: int
    """Number of this claim among all claims ever taken here, from 1."""
    deadline: datetime


class StoreStats(Value, frozen=True):
    """How much the store holds; expired credentials aren't counted, the system tenant is no tenant here."""

    tenants: int
    api_tokens: int
    oauth_tokens: dict[str, int]
    """Number of OAuth tokens by service."""
    credentials: dict[CredentialType, int]
    """Number of credentials by type; types without any are left out."""
    bytes_on_disk: int
    """0 where the store lies in memory."""
    schema_version: str


class Health(Value, frozen=True):
    """The outcome of one write-read-delete round trip."""

    ok: bool
    backend: str
    latency: float
    """Seconds that the round trip took."""
    schema: str
    """The store's schema version; empty when it can't be read."""
    encryption: str
    """``plain`` or ``encrypted``; empty when it can't be read."""
    error: str | None = None
    """Why ``ok`` is false."""


class CorruptPlace(Value, frozen=True):
    """Where something can't be read."""

    kind: str
    tenant_hash: str
    service: str
    reason: str


class CheckReport(Value, frozen=True):
    """The outcome of reading every record."""

    records: int
    """Number of records read, the corrupt ones included."""
    corrupt: tuple[CorruptPlace, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is corrupt."""
        return not self.corrupt
