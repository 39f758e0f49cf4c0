"""One pass over all records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from fusion_store._errors import CorruptRecord, EncryptionError
from fusion_store._records import APITokenRecord, AuthCodeRecord, Kind, Record, SecretRecord, TenantRecord
from fusion_store.auth import REJECTED
from fusion_store.backend import RecordRepository, read_oauth_token
from fusion_store.doctor._finding import Finding
from fusion_store.layers import EncryptedTokenRepository, Keyring
from fusion_store.layers._seal import seal_of

Progress = Callable[[int], None]
"""Called with how many records were looked at since the last call."""

DAY: Final = 86_400_000_000
GROWTH_DAYS: Final = 30
_PAGE: Final = 200
_EXAMPLES: Final = 5
_encode: Final = msgspec.msgpack.Encoder().encode


@dataclass
class _Group:
    """How many there are, and the first few."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(example)


@dataclass
class _Tenant:
    """The tenant whose records are being looked at."""

    tenant_id: str
    live: bool = False
    expired: list[str] = field(default_factory=list)


class RecordSurvey:
    """What a store's records say at ``now``, microseconds since 1970; ``unused_for`` in microseconds.

    OAuth tokens are opened where ``keyring``, or a plain store, allows it. What is corrupt is passed over: that is for
    ``check``.
    """

    def __init__(self, now: int, unused_for: int, keyring: Keyring | None) -> None:
        self._now = now
        self._unused_since = now - unused_for
        self._unused_days = unused_for // DAY
        self._keyring = keyring
        self.records = 0
        self.oldest = now
        self._dated_bytes = self._new_bytes = 0
        self._unused, self._endless, self._expired, self._locked_out = _Group(), _Group(), _Group(), _Group()
        self._tenant = _Tenant("")
        self._dead, self._ended = _Group(), _Group()
        self._seals: Counter[str | None] = Counter()

    def run(self, repository: RecordRepository, progress: Progress | None = None) -> None:
        """Look at every record, tenant by tenant in constant memory, and then at the audit trail."""
        after: str | None = None
        while True:
            with repository.guard:
                page = repository.scan_records(after, _PAGE)
            for record in page.records:
                self._look_at(repository, record)
            self.records += len(page.records)
            if progress is not None:
                progress(len(page.records))
            after = page.after
            if after is None:
                break
        self._end_tenant()
        self._audit_trail(repository)

    def _look_at(self, repository: RecordRepository, record: Record) -> None:
        match record:
            case TenantRecord() | APITokenRecord() | SecretRecord():
                self._age(record.created_at, len(_encode(record)))
        match record:
            case APITokenRecord():
                self._token(record)
            case SecretRecord() | AuthCodeRecord():
                seal = seal_of(record.payload)
                self._seals[None if seal is None else seal.key_id] += 1
                if isinstance(record, SecretRecord) and record.place.kind is Kind.OAUTH:
                    self._oauth_token(repository, record)

    def _audit_trail(self, repository: RecordRepository) -> None:
        with repository.guard:
            for chain in repository.audit_chains():
                # Where the oldest were purged, as many go as come.
                grows = chain.first == 1
                for record in repository.audit_records(chain.tenant_hash):
                    self._age(record.recorded_at, len(_encode(record)), grows=grows)

    def _age(self, moment: int, size: int, *, grows: bool = True) -> None:
        # The system tenant has no time of its own.
        if moment > 0:
            self.oldest = min(self.oldest, moment)
            self._dated_bytes += size
            self._new_bytes += size if grows and moment > self._now - GROWTH_DAYS * DAY else 0

    @property
    def new_share(self) -> float:
        """How much of what is stored is new, of all whose time is known: counters and auth codes have none."""
        return self._new_bytes / self._dated_bytes if self._dated_bytes else 0.0

    def _token(self, record: APITokenRecord) -> None:
        token_id, tenant_id = record.hash[:16], record.tenant_hash[:16]
        if tenant_id != self._tenant.tenant_id:
            self._end_tenant()
            self._tenant = _Tenant(tenant_id)
        if record.expires_at is not None and record.expires_at <= self._now:
            self._tenant.expired.append(token_id)
            return
        self._tenant.live = True
        if (record.last_used or record.created_at) <= self._unused_since:
            self._unused.add(token_id)
        if record.expires_at is None:
            self._endless.add(token_id)

    def _end_tenant(self) -> None:
        # Purging leaves a tenant its last token.
        expired = self._tenant.expired
        if expired and not self._tenant.live:
            self._locked_out.add(self._tenant.tenant_id)
            expired.pop()
        for token_id in expired:
            self._expired.add(token_id)

    def _oauth_token(self, repository: RecordRepository, record: SecretRecord) -> None:
        where = f"{record.place.tenant_hash[:16]} {record.place.service}"
        try:
            if isinstance(repository, EncryptedTokenRepository):
                record = repository.opened(record)
            token = read_oauth_token(record)
        except (CorruptRecord, EncryptionError):
            return
        if REJECTED in token.metadata:
            self._dead.add(where)
        elif record.expires_at is not None and record.expires_at <= self._now and not token.has_refresh_token:
            self._ended.add(where)

    @property
    def unread_payloads(self) -> int:
        """How many payloads nobody looked into, as no keys are at hand."""
        return 0 if self._keyring else self._seals.total() - self._seals[None]

    def findings(self) -> Iterator[Finding]:
        """What of it an operator should know."""
        yield from _found(
            "dead_refreshes",
            self._dead,
            "OAuth tokens whose grant the provider rejected: {}",
            "the user signs in again (fusion-store connect), or delete it: fusion-store oauth delete",
            problem=True,
        )
        yield from _found(
            "ended_oauth_tokens",
            self._ended,
            "OAuth tokens that have ended, without a refresh token: {}",
            "none where the host gets new ones by itself (client credentials, external); else a new sign-in",
        )
        yield from self._old_keys()
        yield from _found(
            "unused_tokens",
            self._unused,
            f"API tokens not used for {self._unused_days} days: {{}}",
            "ask their owners, then: fusion-store token delete ID",
        )
        yield from _found(
            "endless_tokens",
            self._endless,
            "API tokens without expiry: {}",
            "issue new ones with --expires-in, then delete these: fusion-store token delete ID",
        )
        yield from _found(
            "expired_tokens",
            self._expired,
            "expired API tokens that are still stored: {}",
            "run fusion-store purge now and then",
        )
        yield from _found(
            "locked_out_tenants",
            self._locked_out,
            "tenants whose API tokens have all expired: {}",
            "fusion-store token add --tenant ID, or, with all they hold, fusion-store tenant delete ID",
        )

    def _old_keys(self) -> Iterator[Finding]:
        plain = self._seals[None]
        if self._keyring and plain:
            yield Finding(
                "plain_payloads",
                True,
                plain,
                f"secrets in plain text in a sealed store: {plain}",
                "find out who wrote them, then delete them or run fusion-store key convert --to encrypted",
            )
        elif plain:
            yield Finding(
                "plain_payloads",
                False,
                plain,
                f"secrets in plain text: {plain}",
                "fusion-store key generate, then fusion-store key convert --to encrypted",
            )
        if not self._keyring:
            return
        first = self._keyring.keys[0].key_id
        old = {key_id: count for key_id, count in self._seals.items() if key_id not in (None, first)}
        if old:
            total = sum(old.values())
            yield Finding(
                "old_keys",
                False,
                total,
                f"secrets sealed with another key than the first: {total}",
                "run fusion-store key rotate, then take the old keys away",
                tuple(str(key_id) for key_id in sorted(map(str, old))[:_EXAMPLES]),
            )


def _found(check: str, group: _Group, text: str, advice: str, *, problem: bool = False) -> Iterator[Finding]:
    if group.count:
        yield Finding(check, problem, group.count, text.format(group.count), advice, tuple(group.examples))
