"""The audit trail: what is recorded about a change, and in whose name the host makes it.

A tenant's records form a chain, each vouching for the one before it by its hash; what belongs to no tenant is
recorded in a chain of the store's own, whose ``tenant_hash`` is empty. Names, ids, numbers and times are all that a
record holds: never a secret.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import msgspec

from fusion_store._errors import InvalidInput
from fusion_store._values import Value

MAX_ACTOR_CHARS: Final = 256

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_encode: Final = msgspec.msgpack.Encoder(order="sorted").encode
_actor: Final[ContextVar[str]] = ContextVar("fusion_store_actor", default="")


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """In whose name the changes inside the block are made: what their audit records say.

    ``actor`` is 1 to 256 characters without control characters, such as ``ops@example``, else ``InvalidInput``; not a
    secret. It holds for this thread or asyncio task; a block inside another one counts for itself.
    """
    token = _actor.set(_checked(actor))
    try:
        yield
    finally:
        _actor.reset(token)


def current_actor() -> str:
    """What ``acting_as`` says here; empty when nothing does."""
    return _actor.get()


def _checked(actor: object) -> str:
    if not isinstance(actor, str) or not 1 <= len(actor) <= MAX_ACTOR_CHARS:
        raise InvalidInput("actor", f"must be a string of 1 to {MAX_ACTOR_CHARS} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in actor):
        raise InvalidInput("actor", "must not contain control characters or surrogates")
    return str(actor)


class AuditEntry(Value, frozen=True):
    """What is to be recorded about a change, in the same step as the change; fields that don't apply are empty."""

    action: str
    """What was done, for example ``oauth.store``."""
    recorded_at: int
    """When: microseconds since 1970-01-01 UTC."""
    actor: str = ""
    """Who: what ``acting_as`` said."""
    outcome: str = "ok"
    """``expired`` when what was taken or deleted had expired by then."""
    tenant_hash: str = ""
    service: str = ""
    credential_type: str = ""
    token_id: str = ""
    """The first 16 characters of the API token's hash."""
    key_id: str = ""
    """The encryption key that sealed what was written."""
    detail: Mapping[str, int] = {}
    """Numbers that say more: ``version``, ``fence``, ``records``, ``before``."""

    @property
    def at(self) -> datetime:
        """``recorded_at`` as a datetime."""
        return _moment(self.recorded_at)

    @property
    def tenant_id(self) -> str:
        """The first 16 characters of the tenant hash: what logs and screens show."""
        return self.tenant_hash[:16]


class AuditRecord(AuditEntry, frozen=True):
    """An entry in its chain."""

    sequence: int = 0
    """Its place in the chain, from 1."""
    previous: str = ""
    """The hash of the record before it; empty for the first one."""
    hash: str = ""
    """SHA-256 over all other fields, 64 hex characters."""

    @property
    def cursor(self) -> str:
        """This record's place in ``audit_log``, opaque; it works on when the record is gone."""
        return f"{self.recorded_at}.{self.sequence}.{self.tenant_hash}"

    def computed_hash(self) -> str | None:
        """What ``hash`` has to be; None when a field holds what none can hold."""
        fields: list[Any] = [getattr(self, name) for name in self.__struct_fields__ if name != "hash"]
        try:
            return sha256(_encode(fields)).hexdigest()
        except (TypeError, ValueError, OverflowError):
            return None


class AuditChain(Value, frozen=True):
    """One chain: where its records begin and end. It is empty when ``last`` is before ``first``."""

    tenant_hash: str
    first: int = 1
    """The oldest record that stands; those before it were purged."""
    last: int = 0
    """The newest record."""
    hash: str = ""
    """The newest record's hash, also when that one was purged."""
    recorded_at: int = 0
    """When the newest record was recorded."""


class AuditFault(Value, frozen=True):
    """What is wrong with a chain."""

    tenant_hash: str
    sequence: int
    """The record that is meant, or the first of them."""
    reason: str


class AuthenticationAttempt(Value, frozen=True):
    """What became of an API token that somebody presented."""

    recorded_at: int
    """When: microseconds since 1970-01-01 UTC."""
    outcome: str
    """``accepted``, ``expired``, ``unknown`` (never issued, or deleted) or ``malformed``."""
    token_id: str = ""
    """The first 16 characters of the token's hash; empty for what can't be a token."""
    tenant_hash: str = ""
    """Empty unless the token was found."""
    actor: str = ""
    """What ``acting_as`` said."""

    @property
    def at(self) -> datetime:
        """``recorded_at`` as a datetime."""
        return _moment(self.recorded_at)


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
