"""The storage operations on a LevelDB folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from itertools import islice
from os import PathLike
from typing import Final, ParamSpec

from msgspec.structs import replace

from fusion_store import SYSTEM_TENANT, AlreadyExists, StoreStats, TenantNotFound
from fusion_store.backend import (
    AUDIT_MARK,
    ENCRYPTION_MARK,
    APITokenRecord,
    AuditChain,
    AuditEntry,
    AuditRecord,
    AuthCodeRecord,
    Change,
    CorruptPlace,
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
    mode_of,
    of_change,
    of_code,
    of_new_token,
    of_removed_token,
    of_rotation,
    of_store,
    of_written,
    refuse_conflict,
)
from fusion_store_leveldb import _audit as trail
from fusion_store_leveldb import _codec as codec
from fusion_store_leveldb import _keys as keys
from fusion_store_leveldb import _rows as rows
from fusion_store_leveldb import _survey as survey
from fusion_store_leveldb._handle import Stripes
from fusion_store_leveldb._last_used import write_last_used
from fusion_store_leveldb._opening import back_up, open_handle
from fusion_store_leveldb._purge import Purge
from fusion_store_leveldb._session import Changes, Session, View

P = ParamSpec("P")

LOCK_TIMEOUT: Final = 5.0
"""Seconds to wait for a store that another process holds, unless the caller says otherwise."""


class LevelDBTokenRepository(RecordRepository):
    """A vault in the folder ``path``, which this process alone may have open.

    A missing or empty folder becomes a new store, unless ``create`` is false. A store that another process holds is
    waited for, up to ``lock_timeout`` seconds.
    """

    backend_name = "leveldb"

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        create: bool = True,
        lock_timeout: float = LOCK_TIMEOUT,
        clock: Callable[[], datetime] | None = None,
        token_prefix: str | None = None,
    ) -> None:
        super().__init__(clock=clock, token_prefix=token_prefix)
        self._stripes = Stripes()
        self._signal = 0
        self._signalling = threading.Lock()
        self._purge = Purge()
        self._handle = open_handle(path, create=create, lock_timeout=lock_timeout)

    def insert_api_token(
        self, token: APITokenRecord, tenant: TenantRecord | None, mode: bytes, *, audit: AuditEntry | None = None
    ) -> None:
        with self._adding(mode, token.tenant_hash) as session:
            if rows.find_token(session, token.hash) is not None:
                raise AlreadyExists("an API token of that hash stands already")
            standing = rows.has_tenant(session, token.tenant_hash)
            changes = Changes()
            rows.settle_mode(changes, session, mode)
            if tenant is not None:
                if standing:
                    raise AlreadyExists("a tenant of that hash stands already")
                rows.put(changes, tenant)
            elif not standing:
                raise TenantNotFound
            rows.put(changes, token)
            self._record(changes, session, of_new_token, audit, token, tenant)
            session.write(changes)

    def read_api_token(self, hash: str) -> APITokenRecord | None:
        with self._handle.use() as session:
            return rows.read_token(session, hash)

    def replace_api_token(
        self, old: APITokenRecord, new: APITokenRecord, old_expires_at: int | None, *, audit: AuditEntry | None = None
    ) -> bool:
        with self._stripes.hold(old.tenant_hash), self._handle.use() as session:
            found = rows.find_token(session, old.hash)
            standing = rows.read_token(session, old.hash)
            if found is None or standing is None or standing.expires_at != old.expires_at:
                return False
            changes = Changes()
            if old_expires_at is None:
                rows.delete(changes, session, found)
            else:
                rows.put(changes, replace(standing, expires_at=old_expires_at))
            rows.put(changes, new)
            self._record(changes, session, of_rotation, audit, old, new)
            with self._raises_signal():
                session.write(changes)
            return True

    def remove_api_token(self, hash: str, *, audit: AuditEntry | None = None) -> bool:
        while True:
            with self._handle.use() as session:
                found = rows.find_token(session, hash)
            if found is None:
                return False
            tenant_hash = found.location.tenant_hash
            with self._stripes.hold(tenant_hash), self._handle.use() as session:
                found = rows.find_token(session, hash)
                if found is None or found.location.tenant_hash != tenant_hash:
                    continue
                changes = Changes()
                last = not rows.has_other_token(session, found)
                if last:
                    rows.delete_tenant(changes, session, tenant_hash)
                else:
                    rows.delete(changes, session, found)
                self._record(changes, session, of_removed_token, audit, tenant_hash, hash, last=last)
                with self._raises_signal():
                    session.write(changes)
                return True

    def touch_api_tokens(self, last_used: Mapping[str, int]) -> None:
        if last_used:
            write_last_used(self._handle, self._stripes, last_used)

    def scan_api_tokens(
        self, tenant_hash: str | None, after: tuple[int, str] | None, limit: int
    ) -> list[APITokenRecord]:
        with self._handle.use() as session, session.snapshot() as view:
            return list(islice(rows.scan_tokens(view, tenant_hash, after), limit))

    def find_api_token_records(self, prefix: str) -> list[APITokenRecord]:
        ranges = keys.hash_prefix_range(keys.TOKENS_BY_HASH, prefix), keys.token_prefix_range(prefix)
        with self._handle.use() as session, session.snapshot() as view:
            found = (token for index in ranges if index for token in rows.follow_tokens(view, index))
            return list({token.hash: token for token in found}.values())

    def read_tenant(self, tenant_hash: str, now: int) -> TenantCounts | None:
        with self._handle.use() as session:
            return next(rows.scan_tenants(session, keys.tenant_range(tenant_hash), now), None)

    def scan_tenants(self, after: str | None, limit: int, now: int) -> list[TenantCounts]:
        behind = keys.tenants_behind(max(after or SYSTEM_TENANT, SYSTEM_TENANT))
        with self._handle.use() as session:
            return list(islice(rows.scan_tenants(session, behind, now), limit))

    def find_tenants(self, prefix: str) -> list[str]:
        wanted = keys.hash_prefix_range(keys.TENANTS, prefix)
        if wanted is None:
            return []
        with self._handle.use() as session, session.snapshot() as view:
            return [hash for hash in rows.tenant_hashes(view, wanted) if hash != SYSTEM_TENANT]

    def remove_tenant(self, tenant_hash: str, *, audit: AuditEntry | None = None) -> bool:
        with self._stripes.hold(tenant_hash), self._handle.use() as session:
            if not rows.has_tenant(session, tenant_hash):
                return False
            changes = Changes()
            rows.delete_tenant(changes, session, tenant_hash)
            self._record(changes, session, of_store, audit)
            with self._raises_signal():
                session.write(changes)
            return True

    def change_secret(
        self, place: Place, change: Change, mode: bytes, *, audit: AuditEntry | None = None
    ) -> SecretState | None:
        with self._adding(mode, place.tenant_hash) as session:
            before = rows.read_state(session, place)
            after = change(before)
            if after is None:
                return None
            if not before.tenant_exists:
                raise TenantNotFound
            changes = Changes()
            if before.needs_mode(after):
                rows.settle_mode(changes, session, mode)
            rows.put(changes, after.counter)
            if after.secret is None:
                changes.delete(keys.secret(place))
            else:
                rows.put(changes, after.secret)
            self._record(changes, session, of_change, audit, before, after)
            session.write(changes)
            return after

    def read_secret(self, place: Place) -> SecretRecord | None:
        with self._handle.use() as session:
            return rows.read_secret(session, place)

    def scan_secrets(self, tenant_hash: str, kind: Kind) -> list[SecretRecord]:
        with self._handle.use() as session:
            return list(rows.scan_secrets(session, tenant_hash, kind))

    def insert_auth_code(self, code: AuthCodeRecord, mode: bytes, *, audit: AuditEntry | None = None) -> None:
        with self._adding(mode, code.place.tenant_hash) as session:
            if not rows.has_tenant(session, code.place.tenant_hash):
                raise TenantNotFound
            changes = Changes()
            rows.settle_mode(changes, session, mode)
            rows.put(changes, code)
            self._record(changes, session, of_code, audit, code)
            session.write(changes)

    def take_auth_code(self, hash: str, *, audit: AuditEntry | None = None) -> AuthCodeRecord | None:
        with self._handle.use() as session:
            code = rows.read_code(session, hash)
        if code is None:
            return None
        with self._stripes.hold(code.place.tenant_hash), self._handle.use() as session:
            found = rows.find_code(session, hash)
            if found is None or found.read() != code:
                return None
            changes = Changes()
            rows.delete(changes, session, found)
            self._record(changes, session, of_code, audit, code)
            session.write(changes)
            return code

    def read_mark(self, name: str) -> bytes | None:
        with self._handle.use() as session:
            return rows.read_mark(session, name)

    def write_mark(self, name: str, value: bytes | None, *, audit: AuditEntry | None = None) -> None:
        changes = Changes()
        if value is None:
            changes.delete(keys.mark(name))
        else:
            changes.put(keys.mark(name), codec.encode_bytes(value))
        # Whoever changes something relies on the marks that it found.
        held: AbstractContextManager[object] = nullcontext()
        if name in (ENCRYPTION_MARK, AUDIT_MARK):
            held = self._stripes.hold_all()
        elif audit is not None:
            held = self._stripes.hold("")
        with held, self._handle.use() as session:
            if name == AUDIT_MARK and value is not None:
                self._append(changes, session, of_store(audit))
            else:
                self._record(changes, session, of_store, audit)
            session.write(changes)

    def _record(
        self,
        changes: Changes,
        view: View,
        rule: Callable[P, list[AuditEntry]],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> None:
        """The last step before a change is written."""
        if trail.is_audited(view):
            self._append(changes, view, rule(*arguments, **named))

    def _append(
        self,
        changes: Changes,
        view: View,
        entries: Sequence[AuditEntry],
        moved: Mapping[str, AuditChain] | None = None,
    ) -> None:
        if entries:
            self.hand_to_sink(trail.append(changes, view, entries, moved))

    def scan_audit_records(
        self, tenant_hash: str | None, after: tuple[int, int, str] | None, limit: int
    ) -> list[AuditRecord]:
        with self._handle.use() as session, session.snapshot() as view:
            return list(islice(trail.scan_records(view, tenant_hash, after), limit))

    def scan_audit_chains(self, after: str | None, limit: int) -> list[AuditChain]:
        with self._handle.use() as session, session.snapshot() as view:
            return list(islice(trail.scan_chains(view, after), limit))

    def cut_audit_chains(self, before: int, limit: int, *, audit: AuditEntry | None = None) -> int:
        with self._handle.use() as session:
            names = trail.find_old(session, before, limit)
        if not names:
            return 0
        with self._stripes.hold("", *names), self._handle.use() as session:
            if audit is not None and not trail.is_audited(session):
                return 0
            changes = Changes()
            count, moved = trail.cut(changes, session, names, before, limit)
            if count:
                self._append(changes, session, of_store(audit, before=before, records=count), moved)
            if count:
                session.write(changes)
            return count

    def change_signal(self) -> int:
        return self._signal

    def scan_records(self, after: str | None, limit: int) -> RecordPage:
        with self._handle.use() as session, session.snapshot() as view:
            return survey.scan_page(view, after, limit)

    def insert_records(
        self,
        records: Sequence[Record],
        mode: bytes,
        resolve: Resolve = refuse_conflict,
        *,
        audit: AuditEntry | None = None,
    ) -> int:
        hashes = {hash for record in records for hash in _hashes(record)}
        with self._adding(mode, *hashes) as session:
            written: dict[tuple[type[Record], object], Record] = {}
            tenants: set[str] = set()
            for record in records:
                tenant_hash, identity = _identity(record)
                if tenant_hash not in tenants:
                    if not isinstance(record, TenantRecord) and not rows.has_tenant(session, tenant_hash):
                        raise TenantNotFound
                    tenants.add(tenant_hash)
                standing = written.get(identity) or rows.read_standing(session, record)
                answer = record if standing is None else resolve(standing, record)
                if answer is not None:
                    written[identity] = answer
            changes, replaces_token = Changes(), False
            rows.settle_mode(changes, session, mode)
            for record in written.values():
                replaces_token |= rows.put_over(changes, session, record)
            if written:
                self._record(changes, session, of_written, audit, written.values())
                with self._raises_signal() if replaces_token else nullcontext():
                    session.write(changes)
            return len(written)

    def replace_payloads(
        self, replacements: Sequence[tuple[SecretRecord | AuthCodeRecord, bytes]], *, audit: AuditEntry | None = None
    ) -> int:
        hashes = {record.place.tenant_hash for record, _ in replacements}
        with self._stripes.hold("", *hashes), self._handle.use() as session:
            changes, replaced = Changes(), 0
            for record, payload in replacements:
                if rows.read_standing(session, record) == record:
                    rows.put(changes, replace(record, payload=payload))
                    replaced += 1
            if replaced:
                self._record(changes, session, of_store, audit, records=replaced)
                session.write(changes)
            return replaced

    def purge_records(self, now: int, limit: int, *, audit: AuditEntry | None = None) -> dict[str, int]:
        with self._purge.lock:
            with self._handle.use() as session:
                tenants = self._purge.find_tenants(session, now, limit)
            with self._stripes.hold(*tenants), self._handle.use() as session:
                expired = self._purge.collect(session, tenants, now, limit)
                changes = Changes()
                for found in (*expired.codes, *expired.credentials, *expired.api_tokens, *expired.counters):
                    rows.delete(changes, session, found)
                for counter in expired.claims:
                    rows.put(changes, replace(counter, claim_owner=None, claim_deadline=None))
                if changes.entries:
                    self._record(changes, session, expired.audited, audit)
                    with self._raises_signal():
                        session.write(changes)
            self._purge.advance(now)
            return expired.counts()

    def count_records(self, now: int) -> StoreStats:
        with self._handle.use() as session:
            return survey.count_records(
                session, now, bytes_on_disk=self._handle.bytes_on_disk(), schema=rows.read_schema(session)
            )

    def read_schema_version(self) -> str:
        with self._handle.use() as session:
            return rows.read_schema(session)

    def find_damage(self) -> Iterator[CorruptPlace]:
        with self._handle.use() as session, session.snapshot() as view:
            return iter(list(survey.find_damage(view)))

    def backup_storage(self, path: str | PathLike[str]) -> None:
        with self._handle.use() as session:
            back_up(session, self._handle.folder, path)

    def close_storage(self) -> None:
        self._handle.close()

    @contextmanager
    def _adding(self, mode: bytes, *hashes: str) -> Iterator[Session]:
        """The database, to add records of that mode, with the locks of ``hashes`` held.

        Where the store isn't of that mode yet, all locks are held, so that nobody settles another one meanwhile.
        """
        with self._stripes.hold(*hashes), self._handle.use() as session:
            standing = rows.read_mark(session, ENCRYPTION_MARK)
            if standing == mode or mode_of(standing) is mode_of(mode):
                yield session
                return
        with self._stripes.hold_all(), self._handle.use() as session:
            yield session

    @contextmanager
    def _raises_signal(self) -> Iterator[None]:
        """Around a write; one that failed may have been made."""
        try:
            yield
        finally:
            with self._signalling:
                self._signal += 1


def _identity(record: Record) -> tuple[str, tuple[type[Record], object]]:
    """A record's tenant, and what it has in common only with one that is to be the same."""
    match record:
        case TenantRecord():
            return record.tenant_hash, (TenantRecord, record.tenant_hash)
        case APITokenRecord():
            return record.tenant_hash, (APITokenRecord, record.hash)
        case AuthCodeRecord():
            return record.place.tenant_hash, (AuthCodeRecord, record.hash)
        case SecretRecord() | CounterRecord():
            return record.place.tenant_hash, (type(record), record.place)


def _hashes(record: Record) -> Iterator[str]:
    """Whose locks keep others from adding the same record meanwhile, under this tenant or another."""
    yield _identity(record)[0]
    if isinstance(record, APITokenRecord | AuthCodeRecord):
        yield record.hash
