"""What storing, deleting, claiming and importing do to one place: pure functions from state to state.

A backend reads the state of a place, applies the change it is given and writes the answer, in one atomic step.
A change may be applied again when the backend has to repeat the step.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from fusion_store._errors import AlreadyExists, ClaimLost, TenantNotFound, VersionConflict
from fusion_store._records import APITokenRecord, CounterRecord, Place, Record, SecretRecord
from fusion_store._values import Value


class SecretState(Value, frozen=True):
    """One place: whether its tenant stands, the record there, and its counters (all 0 where none stand)."""

    tenant_exists: bool
    secret: SecretRecord | None
    counter: CounterRecord

    def needs_mode(self, answer: SecretState) -> bool:
        """Whether writing ``answer`` here puts a payload or the first record there is at this place."""
        if self.secret is None and self.counter == CounterRecord(self.counter.place):
            return True
        return answer.secret is not None and answer.secret is not self.secret


Change = Callable[[SecretState], SecretState | None]
"""Answers the state to write, or None when nothing is to be written; may raise, and then nothing is."""

Resolve = Callable[[Record, Record], Record | None]
"""Given the record that stands and the one that comes in, answers the record to write over the standing one, or None
to leave it; may raise, and then nothing is written. The answer has the identity and the tenant of the standing one."""


def store(place: Place, payload: bytes, expires_at: int | None, now: int, expected_version: int | None) -> Change:
    """Put a payload there, if the standing record has the expected version."""

    def change(state: SecretState) -> SecretState:
        if not state.tenant_exists:
            raise TenantNotFound
        standing = state.secret
        if standing is not None and standing.is_absent(now):
            standing = None
        if expected_version not in (None, standing.version if standing else 0):
            raise VersionConflict
        secret = SecretRecord(
            place,
            payload,
            expires_at=expires_at,
            created_at=standing.created_at if standing else now,
            updated_at=now,
            version=_known_version(state) + 1,
        )
        counter = replace(state.counter.without_claim(), version=secret.version)
        return SecretState(True, secret, counter)

    return change


def commit(place: Place, payload: bytes, expires_at: int | None, now: int, fence: int) -> Change:
    """Put a payload there, if the claim with that fence is the newest and has not ended."""
    put = store(place, payload, expires_at, now, None)

    def change(state: SecretState) -> SecretState | None:
        if state.tenant_exists and state.counter.claim_fence != fence:
            raise ClaimLost
        return put(state)

    return change


def delete(now: int, expected_version: int | None) -> Change:
    """Take the record away, if there is one, of the expected version."""

    def change(state: SecretState) -> SecretState | None:
        if state.secret is None:
            return None
        absent = state.secret.is_absent(now)
        if not absent and expected_version not in (None, state.secret.version):
            raise VersionConflict
        return SecretState(state.tenant_exists, None, state.counter.without_claim())

    return change


def claim(owner: str, now: int, deadline: int) -> Change:
    """Take the claim, unless another one is live."""

    def change(state: SecretState) -> SecretState | None:
        if not state.tenant_exists:
            raise TenantNotFound
        counter = state.counter
        if counter.claim_deadline is not None and counter.claim_deadline > now:
            return None
        fence = counter.fence + 1
        return replace(
            state,
            counter=replace(
                counter,
                version=_known_version(state),
                fence=fence,
                claim_fence=fence,
                claim_owner=owner,
                claim_deadline=deadline,
            ),
        )

    return change


def _known_version(state: SecretState) -> int:
    """How often the place was stored; a record imported without its counters knows it too."""
    return max(state.counter.version, state.secret.version if state.secret else 0)


def release(fence: int) -> Change:
    """End the claim with that fence, if it is the newest and has not ended."""

    def change(state: SecretState) -> SecretState | None:
        if state.counter.claim_fence != fence:
            return None
        return replace(state, counter=state.counter.without_claim())

    return change


def same_content(standing: Record, record: Record) -> bool:
    """Whether two records are the same but for what moves by itself: ``last_used``, and claims."""
    return _settled(standing) == _settled(record)


def _settled(record: Record) -> Record:
    if isinstance(record, APITokenRecord):
        return replace(record, last_used=None)
    if isinstance(record, CounterRecord):
        return record.without_claim()
    return record


def refuse_conflict(standing: Record, incoming: Record) -> Record | None:
    """The rule of an import: leave what stands with the same content; with other content it is ``AlreadyExists``."""
    if same_content(standing, incoming):
        return None
    raise AlreadyExists("a record of that place stands already, with other content")
