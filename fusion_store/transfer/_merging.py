"""What happens to a record that stands in the destination already.

Nothing comes back to life: an API token keeps the earlier of two expiries, and a secret that was deleted in the
destination stays deleted unless the source has a later version.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from fusion_store.backend import (
    APITokenRecord,
    CounterRecord,
    Place,
    Record,
    SecretRecord,
    same_content,
)
from fusion_store.transfer._reports import Conflict, Spot, version_of


def merged(standing: Record, incoming: Record) -> Record | None:
    """The record to write over the standing one; None to leave that."""
    answer = standing
    match standing, incoming:
        case APITokenRecord(), APITokenRecord():
            answer = replace(
                standing,
                expires_at=min((t for t in (standing.expires_at, incoming.expires_at) if t is not None), default=None),
                last_used=max((t for t in (standing.last_used, incoming.last_used) if t is not None), default=None),
            )
        case SecretRecord(), SecretRecord():
            if (incoming.version, incoming.updated_at) > (standing.version, standing.updated_at):
                answer = incoming
        case CounterRecord(), CounterRecord():
            version, fence = max(standing.version, incoming.version), max(standing.fence, incoming.fence)
            if (version, fence) != (standing.version, standing.fence):
                # A claim here knows nothing of what was stored or claimed there.
                answer = CounterRecord(standing.place, version, fence)
    return None if answer == standing else answer


class DeletedThere(Exception):
    """A secret comes in that was deleted in the destination."""


class Merging:
    """The rule for one batch, and what it decided. May be asked about the same record again."""

    def __init__(self, batch: Sequence[Record]) -> None:
        self._incoming = {record.place: record for record in batch if isinstance(record, SecretRecord)}
        self._standing: set[Place] = set()
        self._decided: dict[Spot, tuple[bool, Conflict | None]] = {}

    def resolve(self, standing: Record, incoming: Record) -> Record | None:
        """The rule, as ``Resolve``. Raises ``DeletedThere``; each secret must come before its counters."""
        if isinstance(incoming, SecretRecord):
            self._standing.add(incoming.place)
        elif isinstance(standing, CounterRecord) and isinstance(incoming, CounterRecord):
            secret = self._incoming.get(incoming.place)
            if secret is not None and incoming.place not in self._standing and was_deleted(standing, secret):
                raise DeletedThere
        answer = merged(standing, incoming)
        self._decided[Spot.of(incoming)] = answer is not None, _conflict(standing, incoming, answer)
        return answer

    @property
    def met(self) -> int:
        """How many records stood already."""
        return len(self._decided)

    @property
    def replaced(self) -> int:
        """How many of them were written over."""
        return sum(replaced for replaced, _ in self._decided.values())

    @property
    def conflicts(self) -> list[Conflict]:
        """Those with other content; counters aren't listed beside their secrets."""
        return [conflict for _, conflict in self._decided.values() if conflict is not None]


def was_deleted(standing: CounterRecord, incoming: SecretRecord) -> bool:
    """Whether the counters of an empty place say that the secret was there and is gone."""
    return standing.version >= incoming.version


def _conflict(standing: Record, incoming: Record, answer: Record | None) -> Conflict | None:
    if isinstance(incoming, CounterRecord) or same_content(standing, incoming):
        return None
    kept = "standing"
    if answer is incoming:
        kept = "incoming"
    elif isinstance(standing, APITokenRecord) and isinstance(answer, APITokenRecord):
        kept = "earlier expiry" if answer.expires_at != standing.expires_at else kept
    return Conflict(Spot.of(incoming), version_of(standing), version_of(incoming), kept)
