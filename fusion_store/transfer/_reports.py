"""What moving and comparing answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fusion_store._values import Value
from fusion_store.backend import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Record,
    SecretRecord,
    TenantRecord,
)

MOST_LISTED: Final = 1000
"""How many conflicts or differences a report lists; all of them are counted."""

Progress = Callable[[int], None]
"""Called after each step with how many tenants were done since the last call; may raise to stop there."""


class Spot(Value, frozen=True, order=True):
    """Where a record stands."""

    tenant_hash: str
    kind: str
    """``tenant``, ``api_token``, ``oauth``, ``credential``, ``auth_code``, or ``counter`` for how often a place was
    stored and claimed."""
    service: str = ""
    credential_type: str = ""
    hash: str = ""
    """An API token's or auth code's."""

    @classmethod
    def of(cls, record: Record) -> Spot:
        """Where a record stands. No two records of a store have the same."""
        match record:
            case TenantRecord():
                return cls(record.tenant_hash, "tenant")
            case APITokenRecord():
                return cls(record.tenant_hash, "api_token", hash=record.hash)
            case SecretRecord(place=place):
                return cls(place.tenant_hash, str(place.kind), place.service, str(place.credential_type))
            case CounterRecord(place=place):
                # The counters of an OAuth token have no credential type: `oauth` tells them from a credential's.
                kind = str(place.credential_type) if place.kind is Kind.CREDENTIAL else str(place.kind)
                return cls(place.tenant_hash, "counter", place.service, kind)
            case AuthCodeRecord(place=place):
                return cls(place.tenant_hash, str(place.kind), place.service, hash=record.hash)


class Conflict(Value, frozen=True):
    """A record that stood in the destination already, with other content.

    Versions are 0 where a record has none. ``kept`` is ``standing`` or ``incoming``; ``earlier expiry`` for an API
    token that stands with a shortened life; ``deletion`` where a record of that version, or a later one, was deleted
    in the destination, and stays so.
    """

    spot: Spot
    standing_version: int
    incoming_version: int
    kept: str


class CopyReport(Value, frozen=True):
    """The outcome of a copy or restore; of one that went on with an earlier one, of the rest alone."""

    tenants: int
    """How many came in."""
    records: int
    """How many came in: ``added``, ``replaced`` and ``skipped`` together."""
    added: int
    replaced: int
    skipped: int
    """Stood in the destination already, and were left as they are."""
    conflicts: int
    listed: tuple[Conflict, ...]
    """The first ``MOST_LISTED`` conflicts."""
    resumed: bool
    """Whether it went on where an earlier one had stopped."""


class DumpReport(Value, frozen=True):
    """The outcome of a dump."""

    tenants: int
    records: int


class Difference(Value, frozen=True):
    """A record that two stores don't hold alike.

    ``what``: ``missing`` (the source alone has it), ``extra`` (the destination alone), ``version``, ``payload``,
    ``last used``, ``content`` (anything else), or ``corrupt in the source``, ``corrupt in the destination``.
    Versions are 0 where a record has none or isn't there.
    """

    spot: Spot
    what: str
    source_version: int = 0
    destination_version: int = 0


class VerifyReport(Value, frozen=True):
    """The outcome of comparing two stores."""

    tenants: int
    """Number of tenants in either, the system tenant included."""
    records: int
    """Number of records in the source."""
    differing_tenants: int
    differences: dict[str, int]
    """How many records differ, by ``Difference.what``."""
    listed: tuple[Difference, ...]
    """The first ``MOST_LISTED`` differences."""
    same_encryption: bool
    """Whether both stores are plain, or sealed with the same mark."""
    source_digest: str
    """SHA-256 over everything that was compared, 64 hex characters: equal for equal stores."""
    destination_digest: str

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences and self.same_encryption


def version_of(record: Record | None) -> int:
    """The version of a record, 0 for one without."""
    return record.version if isinstance(record, SecretRecord | CounterRecord) else 0
