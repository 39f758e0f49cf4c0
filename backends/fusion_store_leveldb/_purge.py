"""Finding what has expired, without an index of its own: a pass over the store that calls continue."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from fusion_store import SYSTEM_TENANT, CorruptRecord
from fusion_store.backend import (
    APITokenRecord,
    AuditEntry,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    SecretRecord,
    of_purged_place,
    of_purged_token,
)
from fusion_store_leveldb import _keys as keys
from fusion_store_leveldb._rows import Found
from fusion_store_leveldb._session import View


class Expired(NamedTuple):
    """What is to be deleted; of ``claims``, the counters as they stand."""

    codes: list[Found]
    credentials: list[Found]
    claims: list[CounterRecord]
    api_tokens: list[Found]
    counters: list[Found]

    def counts(self) -> dict[str, int]:
        """How much it is, by name."""
        return {name: len(found) for name, found in self._asdict().items()}

    def audited(self, audit: AuditEntry | None) -> list[AuditEntry]:
        """What is to be recorded."""
        entries: list[AuditEntry] = []
        for name, places in (
            ("auth_code.purge", [found.location.place for found in self.codes]),
            ("credentials.purge", [found.location.place for found in self.credentials]),
            ("refresh.purge", [counter.place for counter in self.claims]),
        ):
            for place in places:
                assert place is not None
                entries += of_purged_place(audit, name, place)
        for found in self.api_tokens:
            entries += of_purged_token(audit, found.location.tenant_hash, found.location.hash)
        return entries

    def add(self, more: Expired, limit: int) -> None:
        """Take over from ``more``, up to ``limit`` of each."""
        self.codes.extend(more.codes[: limit - len(self.codes)])
        self.credentials.extend(more.credentials[: limit - len(self.credentials)])
        self.claims.extend(more.claims[: limit - len(self.claims)])
        self.api_tokens.extend(more.api_tokens[: limit - len(self.api_tokens)])
        self.counters.extend(more.counters[: limit - len(self.counters)])

    def is_full(self, limit: int) -> bool:
        """Whether there are ``limit`` of one of them."""
        return any(len(found) >= limit for found in self)


class Purge:
    """One repository's passes. A call that is given the same ``now`` continues where the last one was full.

    Whoever calls holds ``lock``.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._now: int | None = None
        self._start = keys.TENANTS.start
        self._next = keys.TENANTS.start

    def find_tenants(self, view: View, now: int, limit: int) -> list[str]:
        """The next tenants with something that has expired, up to ``limit`` of one kind."""
        start = self._start if now == self._now else keys.TENANTS.start
        expired, tenants = _nothing(), []
        self._next = keys.TENANTS.start
        for tenant_hash, entries in groupby(
            view.scan(keys.Range(start, keys.TENANTS.stop)), key=lambda entry: keys.tenant_of(entry[0])
        ):
            found = _expired(view, entries, now)
            if any(found):
                tenants.append(tenant_hash)
                expired.add(found, limit)
            if expired.is_full(limit):
                self._next = keys.tenant_range(tenant_hash).start
                break
        return tenants

    def collect(self, view: View, tenants: Sequence[str], now: int, limit: int) -> Expired:
        """What has expired of these tenants, up to ``limit`` of each kind."""
        expired = _nothing()
        for tenant_hash in tenants:
            expired.add(_expired(view, view.scan(keys.tenant_range(tenant_hash)), now), limit)
        return expired

    def advance(self, now: int) -> None:
        """What was found is gone: let the next call continue behind it."""
        self._now, self._start = now, self._next


def _nothing() -> Expired:
    return Expired([], [], [], [], [])


def _expired(view: View, entries: Iterable[tuple[bytes, bytes]], now: int) -> Expired:
    """What has expired of one tenant's entries, save its last token. What can't be read stays."""
    expired = _nothing()
    has_live_token = False
    for key, value in entries:
        try:
            found = Found(key, keys.read(key), value)
            record = found.read()
        except (ValueError, CorruptRecord):
            continue
        match record:
            case APITokenRecord():
                if record.expires_at is None or record.expires_at > now:
                    has_live_token = True
                else:
                    expired.api_tokens.append(found)
            case SecretRecord() if record.is_absent(now):
                expired.credentials.append(found)
            case CounterRecord() if record.claim_deadline is not None and record.claim_deadline <= now:
                expired.claims.append(record)
            case CounterRecord() if _is_spent(view, record.place):
                expired.counters.append(found)
            case AuthCodeRecord() if record.expires_at <= now:
                expired.codes.append(found)
    if expired.api_tokens and not has_live_token:
        expired.api_tokens.pop()
    return expired


def _is_spent(view: View, place: Place) -> bool:
    """Whether it is the place of one of the system tenant's credentials that are gone."""
    of_system = place.tenant_hash == SYSTEM_TENANT and place.kind is Kind.CREDENTIAL
    return of_system and view.get(keys.secret(place)) is None
