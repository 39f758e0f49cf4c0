"""The storage operations over plain dicts: what every other backend is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from os import PathLike
from typing import Any, Final, ParamSpec

from msgspec.structs import replace

from fusion_store import (
    SYSTEM_TENANT,
    AlreadyExists,
    ConfigError,
    CredentialType,
    StoreStats,
    TenantNotFound,
)
from fusion_store.backend import (
    AUDIT_MARK,
    ENCRYPTION_MARK,
    APITokenRecord,
    AuditChain,
    AuditEntry,
    AuditRecord,
    AuthCodeRecord,
    Change,
    CounterRecord,
    Kind,
    Place,
    Record,
    RecordPage,
    RecordRepository,
    Resolve,
    SecretRecord,
    SecretState,
    TenantCounts,
    TenantRecord,
    of_change,
    of_code,
    of_new_token,
    of_removed_token,
    of_rotation,
    of_store,
    of_written,
    refuse_conflict,
    settle_mode,
)
from fusion_store_memory import _audit as trail
from fusion_store_memory._purge import find_expired
from fusion_store_memory._state import State

P = ParamSpec("P")

SCHEMA_VERSION: Final = "0002"


class MemoryTokenRepository(RecordRepository):
    """A vault that lives as long as its ``State``."""

    backend_name = "memory"

    def __init__(
        self,
        state: State | None = None,
        *,
        clock: Callable[[], datetime] | None = None,
        token_prefix: str | None = None,
    ) -> None:
        super().__init__(clock=clock, token_prefix=token_prefix)
        self._state = State() if state is None else state

    def insert_api_token(
        self, token: APITokenRecord, tenant: TenantRecord | None, mode: bytes, *, audit: AuditEntry | None = None
    ) -> None:
        with self._state.lock:
            if token.hash in self._state.tokens:
                raise AlreadyExists("an API token of that hash stands already")
            if tenant is not None:
                if tenant.tenant_hash in self._state.tenants:
                    raise AlreadyExists("a tenant of that hash stands already")
            elif token.tenant_hash not in self._state.tenants:
                raise TenantNotFound
            self._settle(mode)
            self._record(of_new_token, audit, token, tenant)
            if tenant is not None:
                self._state.tenants[tenant.tenant_hash] = tenant
            self._state.tokens[token.hash] = token

    def read_api_token(self, hash: str) -> APITokenRecord | None:
        with self._state.lock:
            return self._state.tokens.get(hash)

    def replace_api_token(
        self, old: APITokenRecord, new: APITokenRecord, old_expires_at: int | None, *, audit: AuditEntry | None = None
    ) -> bool:
        with self._state.lock:
            standing = self._state.tokens.get(old.hash)
            if standing is None or standing.expires_at != old.expires_at:
                return False
            self._record(of_rotation, audit, old, new)
            self._state.tokens[new.hash] = new
            if old_expires_at is None:
                del self._state.tokens[old.hash]
            else:
                self._state.tokens[old.hash] = replace(standing, expires_at=old_expires_at)
            self._state.signal += 1
            return True

    def remove_api_token(self, hash: str, *, audit: AuditEntry | None = None) -> bool:
        with self._state.lock:
            token = self._state.tokens.get(hash)
            if token is None:
                return False
            last = all(t is token or t.tenant_hash != token.tenant_hash for t in self._state.tokens.values())
            self._record(of_removed_token, audit, token.tenant_hash, hash, last=last)
            del self._state.tokens[hash]
            self._state.signal += 1
            if last:
                self._remove_tenant(token.tenant_hash)
            return True

    def touch_api_tokens(self, last_used: Mapping[str, int]) -> None:
        with self._state.lock:
            for hash, used_at in last_used.items():
                token = self._state.tokens.get(hash)
                if token is not None and (token.last_used is None or token.last_used < used_at):
                    self._state.tokens[hash] = replace(token, last_used=used_at)

    def scan_api_tokens(
        self, tenant_hash: str | None, after: tuple[int, str] | None, limit: int
    ) -> list[APITokenRecord]:
        with self._state.lock:
            found = [
                token
                for token in self._state.tokens.values()
                if tenant_hash in (None, token.tenant_hash)
                and (after is None or (token.created_at, token.hash) > after)
            ]
        return sorted(found, key=_token_order)[:limit]

    def find_api_token_records(self, prefix: str) -> list[APITokenRecord]:
        with self._state.lock:
            return [
                token
                for token in self._state.tokens.values()
                if token.prefix.startswith(prefix) or token.hash.startswith(prefix)
            ]

    def read_tenant(self, tenant_hash: str, now: int) -> TenantCounts | None:
        with self._state.lock:
            tenant = self._state.tenants.get(tenant_hash)
            return None if tenant is None else self._counts(tenant, now)

    def scan_tenants(self, after: str | None, limit: int, now: int) -> list[TenantCounts]:
        with self._state.lock:
            hashes = sorted(self._state.tenants.keys() - {SYSTEM_TENANT})
            behind = [hash for hash in hashes if after is None or hash > after]
            return [self._counts(self._state.tenants[hash], now) for hash in behind[:limit]]

    def _counts(self, tenant: TenantRecord, now: int) -> TenantCounts:
        hash = tenant.tenant_hash
        kinds = Counter(
            place.kind
            for place, secret in self._state.secrets.items()
            if place.tenant_hash == hash and not secret.is_absent(now)
        )
        return TenantCounts(
            tenant,
            api_tokens=sum(token.tenant_hash == hash for token in self._state.tokens.values()),
            oauth_tokens=kinds[Kind.OAUTH],
            credentials=kinds[Kind.CREDENTIAL],
        )

    def find_tenants(self, prefix: str) -> list[str]:
        with self._state.lock:
            hashes = self._state.tenants.keys() - {SYSTEM_TENANT}
        return sorted(hash for hash in hashes if hash.startswith(prefix))

    def remove_tenant(self, tenant_hash: str, *, audit: AuditEntry | None = None) -> bool:
        with self._state.lock:
            if tenant_hash not in self._state.tenants:
                return False
            self._record(of_store, audit)
            self._remove_tenant(tenant_hash)
            self._state.signal += 1
            return True

    def _remove_tenant(self, tenant_hash: str) -> None:
        state = self._state
        del state.tenants[tenant_hash]
        for hash in [h for h, t in state.tokens.items() if t.tenant_hash == tenant_hash]:
            del state.tokens[hash]
        for hash in [h for h, c in state.codes.items() if c.place.tenant_hash == tenant_hash]:
            del state.codes[hash]
        for place in [p for p in state.secrets if p.tenant_hash == tenant_hash]:
            del state.secrets[place]
        for place in [p for p in state.counters if p.tenant_hash == tenant_hash]:
            del state.counters[place]

    def change_secret(
        self, place: Place, change: Change, mode: bytes, *, audit: AuditEntry | None = None
    ) -> SecretState | None:
        state = self._state
        with state.lock:
            before = SecretState(
                place.tenant_hash in state.tenants,
                state.secrets.get(place),
                state.counters.get(place, CounterRecord(place)),
            )
            answer = change(before)
            if answer is None:
                return None
            if before.needs_mode(answer):
                self._settle(mode)
            self._record(of_change, audit, before, answer)
            state.counters[place] = answer.counter
            if answer.secret is None:
                state.secrets.pop(place, None)
            else:
                state.secrets[place] = answer.secret
            return answer

    def read_secret(self, place: Place) -> SecretRecord | None:
        with self._state.lock:
            return self._state.secrets.get(place)

    def scan_secrets(self, tenant_hash: str, kind: Kind) -> list[SecretRecord]:
        with self._state.lock:
            return [
                secret
                for place, secret in self._state.secrets.items()
                if place.tenant_hash == tenant_hash and place.kind is kind
            ]

    def insert_auth_code(self, code: AuthCodeRecord, mode: bytes, *, audit: AuditEntry | None = None) -> None:
        with self._state.lock:
            if code.place.tenant_hash not in self._state.tenants:
                raise TenantNotFound
            self._settle(mode)
            self._record(of_code, audit, code)
            self._state.codes[code.hash] = code

    def take_auth_code(self, hash: str, *, audit: AuditEntry | None = None) -> AuthCodeRecord | None:
        with self._state.lock:
            code = self._state.codes.get(hash)
            if code is not None:
                self._record(of_code, audit, code)
                del self._state.codes[hash]
            return code

    def read_mark(self, name: str) -> bytes | None:
        with self._state.lock:
            return self._state.marks.get(name)

    def write_mark(self, name: str, value: bytes | None, *, audit: AuditEntry | None = None) -> None:
        with self._state.lock:
            if name == AUDIT_MARK and value is not None:
                self._append(of_store(audit))
            else:
                self._record(of_store, audit)
            if value is None:
                self._state.marks.pop(name, None)
            else:
                self._state.marks[name] = value

    def _settle(self, mode: bytes) -> None:
        state = self._state
        mark = settle_mode(state.marks.get(ENCRYPTION_MARK), mode, self._is_empty)
        if mark is not None:
            state.marks[ENCRYPTION_MARK] = mark

    def _is_empty(self) -> bool:
        state = self._state
        return len(state.tenants) == 1 and not (state.secrets or state.counters or state.codes)

    def _record(self, rule: Callable[P, list[AuditEntry]], *arguments: P.args, **named: P.kwargs) -> None:
        """The last step before a change: it may fail, and what follows may not."""
        if trail.is_audited(self._state):
            self._append(rule(*arguments, **named))

    def _append(self, entries: Iterable[AuditEntry]) -> None:
        trail.append(self._state, entries, self.hand_to_sink)

    def scan_audit_records(
        self, tenant_hash: str | None, after: tuple[int, int, str] | None, limit: int
    ) -> list[AuditRecord]:
        with self._state.lock:
            return trail.scan_records(self._state, tenant_hash, after, limit)

    def scan_audit_chains(self, after: str | None, limit: int) -> list[AuditChain]:
        with self._state.lock:
            return trail.scan_chains(self._state, after, limit)

    def cut_audit_chains(self, before: int, limit: int, *, audit: AuditEntry | None = None) -> int:
        with self._state.lock:
            if audit is not None and not trail.is_audited(self._state):
                return 0
            old = trail.find_old(self._state, before, limit)
            if old:
                self._append(of_store(audit, before=before, records=len(old)))
                trail.cut(self._state, old)
            return len(old)

    def change_signal(self) -> int:
        return self._state.signal

    def scan_records(self, after: str | None, limit: int) -> RecordPage:
        with self._state.lock:
            behind = sorted(h for h in self._state.tenants if after is None or h > after)
            hashes = behind[:limit]
            records = [record for hash in hashes for record in self._records_of(hash)]
        return RecordPage(tuple(records), (), hashes[-1] if len(behind) > limit else None)

    def _records_of(self, tenant_hash: str) -> Iterator[Record]:
        state = self._state
        yield state.tenants[tenant_hash]
        tokens = (t for t in state.tokens.values() if t.tenant_hash == tenant_hash)
        yield from sorted(tokens, key=_token_order)
        yield from (state.secrets[p] for p in sorted(state.secrets) if p.tenant_hash == tenant_hash)
        yield from (state.counters[p] for p in sorted(state.counters) if p.tenant_hash == tenant_hash)
        codes = (c for c in state.codes.values() if c.place.tenant_hash == tenant_hash)
        yield from sorted(codes, key=lambda code: code.hash)

    def insert_records(
        self,
        records: Sequence[Record],
        mode: bytes,
        resolve: Resolve = refuse_conflict,
        *,
        audit: AuditEntry | None = None,
    ) -> int:
        state = self._state
        with state.lock:
            written: dict[tuple[type[Record], object], Record] = {}
            tenants = set(state.tenants)
            for record in records:
                table, key, tenant_hash = _home(state, record)
                if isinstance(record, TenantRecord):
                    tenants.add(tenant_hash)
                elif tenant_hash not in tenants:
                    raise TenantNotFound
                standing = written.get((type(record), key), table.get(key))
                answer = record if standing is None else resolve(standing, record)
                if answer is not None:
                    written[type(record), key] = answer
            self._settle(mode)
            self._record(of_written, audit, written.values())
            for (_, key), record in written.items():
                table = _home(state, record)[0]
                state.signal += isinstance(record, APITokenRecord) and key in table
                table[key] = record
            return len(written)

    def replace_payloads(
        self, replacements: Sequence[tuple[SecretRecord | AuthCodeRecord, bytes]], *, audit: AuditEntry | None = None
    ) -> int:
        with self._state.lock:
            replaced: dict[object, SecretRecord | AuthCodeRecord] = {}
            for record, payload in replacements:
                table, key, _ = _home(self._state, record)
                if replaced.get(key, table.get(key)) == record:
                    replaced[key] = replace(record, payload=payload)
            if replaced:
                self._record(of_store, audit, records=len(replaced))
            for key, record in replaced.items():
                _home(self._state, record)[0][key] = record
        return len(replaced)

    def purge_records(self, now: int, limit: int, *, audit: AuditEntry | None = None) -> dict[str, int]:
        with self._state.lock:
            expired = find_expired(self._state, now, limit)
            self._record(expired.audited, audit)
            expired.delete(self._state)
            return expired.counts()

    def count_records(self, now: int) -> StoreStats:
        with self._state.lock:
            present = [p for p, s in self._state.secrets.items() if not s.is_absent(now)]
            return StoreStats(
                tenants=len(self._state.tenants) - 1,
                api_tokens=len(self._state.tokens),
                oauth_tokens=dict(Counter(p.service for p in present if p.kind is Kind.OAUTH)),
                credentials=dict(
                    Counter(CredentialType(p.credential_type) for p in present if p.kind is Kind.CREDENTIAL)
                ),
                bytes_on_disk=0,
                schema_version=SCHEMA_VERSION,
            )

    def read_schema_version(self) -> str:
        return SCHEMA_VERSION

    def backup_storage(self, path: str | PathLike[str]) -> None:  # noqa: ARG002
        raise ConfigError("a vault in memory has no backup: export its records instead")

    def close_storage(self) -> None:
        """Nothing is held."""


def _token_order(token: APITokenRecord) -> tuple[int, str]:
    return token.created_at, token.hash


def _home(state: State, record: Record) -> tuple[dict[Any, Any], object, str]:
    """The dict that a record belongs in, its key there, and its tenant."""
    match record:
        case TenantRecord():
            return state.tenants, record.tenant_hash, record.tenant_hash
        case APITokenRecord():
            return state.tokens, record.hash, record.tenant_hash
        case SecretRecord():
            return state.secrets, record.place, record.place.tenant_hash
        case CounterRecord():
            return state.counters, record.place, record.place.tenant_hash
        case AuthCodeRecord():
            return state.codes, record.hash, record.place.tenant_hash
