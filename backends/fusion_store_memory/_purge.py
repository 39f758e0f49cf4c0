"""Finding what has expired in a state, and deleting it. Whoever calls holds the state's lock."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from msgspec.structs import replace

from fusion_store import SYSTEM_TENANT
from fusion_store.backend import (
    APITokenRecord,
    AuditEntry,
    AuthCodeRecord,
    Kind,
    Place,
    of_purged_place,
    of_purged_token,
)
from fusion_store_memory._state import State


class Expired(NamedTuple):
    """What is to be deleted; of ``claims`` only what keeps others out."""

    codes: list[AuthCodeRecord]
    credentials: list[Place]
    claims: list[Place]
    api_tokens: list[APITokenRecord]
    counters: list[Place]

    def counts(self) -> dict[str, int]:
        """How much it is, by name."""
        return {name: len(found) for name, found in self._asdict().items()}

    def audited(self, audit: AuditEntry | None) -> list[AuditEntry]:
        """What is to be recorded."""
        entries: list[AuditEntry] = []
        for name, places in (
            ("auth_code.purge", [code.place for code in self.codes]),
            ("credentials.purge", self.credentials),
            ("refresh.purge", self.claims),
        ):
            for place in places:
                entries += of_purged_place(audit, name, place)
        for token in self.api_tokens:
            entries += of_purged_token(audit, token.tenant_hash, token.hash)
        return entries

    def delete(self, state: State) -> None:
        """Delete it."""
        for code in self.codes:
            del state.codes[code.hash]
        for place in self.credentials:
            del state.secrets[place]
        for place in self.claims:
            state.counters[place] = replace(state.counters[place], claim_owner=None, claim_deadline=None)
        for token in self.api_tokens:
            del state.tokens[token.hash]
        state.signal += len(self.api_tokens)
        for place in self.counters:
            del state.counters[place]


def find_expired(state: State, now: int, limit: int) -> Expired:
    """What has expired at ``now``, up to ``limit`` of each kind."""
    claims = (
        place
        for place, counter in state.counters.items()
        if counter.claim_deadline is not None and counter.claim_deadline <= now
    )
    return Expired(
        [code for code in state.codes.values() if code.expires_at <= now][:limit],
        [place for place, secret in state.secrets.items() if secret.is_absent(now)][:limit],
        list(claims)[:limit],
        _expired_tokens(state, now)[:limit],
        [place for place in state.counters if _is_of_system_credential(place) and place not in state.secrets][:limit],
    )


def _expired_tokens(state: State, now: int) -> list[APITokenRecord]:
    """Save the last one of a tenant that has no other."""
    expired: dict[str, list[APITokenRecord]] = defaultdict(list)
    with_live_token = set()
    for token in state.tokens.values():
        if token.expires_at is not None and token.expires_at <= now:
            expired[token.tenant_hash].append(token)
        else:
            with_live_token.add(token.tenant_hash)
    purgeable = []
    for tenant_hash, tokens in expired.items():
        tokens.sort(key=lambda token: (token.created_at, token.hash))
        purgeable += tokens if tenant_hash in with_live_token else tokens[:-1]
    return purgeable


def _is_of_system_credential(place: Place) -> bool:
    return place.tenant_hash == SYSTEM_TENANT and place.kind is Kind.CREDENTIAL
