"""The storage operations in SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import ParamSpec

from msgspec.structs import replace
from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    exists,
    or_,
    select,
    update,
)

from fusion_store import (
    SYSTEM_TENANT,
    CorruptRecord,
    StoreStats,
    TenantNotFound,
)
from fusion_store.backend import (
    AUDIT_MARK,
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
    of_change,
    of_code,
    of_new_token,
    of_removed_token,
    of_rotation,
    of_store,
    of_written,
    refuse_conflict,
)
from fusion_store_sql import _audit, _counts, _rows
from fusion_store_sql._audit import AUDITED, is_audited
from fusion_store_sql._bulk import insert_records, replace_payloads
from fusion_store_sql._database import rows
from fusion_store_sql._errors import UnreadableText
from fusion_store_sql._location import Location
from fusion_store_sql._marks import CHANGES, MARK, SIGNAL, mark_in, raise_signal, settle, write_mark
from fusion_store_sql._purge import purge
from fusion_store_sql._queries import (
    SECRET,
    SECRETS_OF_TENANT,
    TOKEN,
    TOKENS_OF_PREFIX,
    add,
    add_tenant,
    find_counter,
    find_secret,
    find_token,
    last_of_prefix,
    lock_tenant,
    remove,
    secret_key,
    token_page,
    write,
)
from fusion_store_sql._scan import any_text, scan_page
from fusion_store_sql._schema import (
    HEAD,
    api_tokens,
    auth_codes,
    tenants,
)

P = ParamSpec("P")


class SQLTokenRepository(RecordRepository):
    """A vault in an SQL database at the current schema."""

    def __init__(
        self,
        location: Location,
        *,
        clock: Callable[[], datetime] | None = None,
        token_prefix: str | None = None,
    ) -> None:
        super().__init__(clock=clock, token_prefix=token_prefix)
        self.backend_name = location.name
        self._location = location
        self._database = location.connect()

    # API tokens and tenants

    def insert_api_token(
        self, token: APITokenRecord, tenant: TenantRecord | None, mode: bytes, *, audit: AuditEntry | None = None
    ) -> None:
        def work(connection: Connection) -> None:
            audited = settle(connection, mode)
            if tenant is not None:
                add_tenant(connection, tenant, token)
            elif lock_tenant(connection, token.tenant_hash).stands:
                add(connection, token)
            else:
                raise TenantNotFound
            self._record(connection, audited, of_new_token, audit, token, tenant)

        self._database.write(work)

    def read_api_token(self, hash: str) -> APITokenRecord | None:
        try:
            found = self._database.ask(TOKEN, hash)
        except UnreadableText:
            raise CorruptRecord("api_token", reason=f"hash {hash[:16]}") from None
        return _rows.api_token(found[0]) if found else None

    def replace_api_token(
        self, old: APITokenRecord, new: APITokenRecord, old_expires_at: int | None, *, audit: AuditEntry | None = None
    ) -> bool:
        def work(connection: Connection) -> bool:
            audited = lock_tenant(connection, old.tenant_hash).audited
            standing = find_token(connection, old.hash)
            if standing is None or standing.expires_at != old.expires_at:
                return False
            add(connection, new)
            if old_expires_at is None:
                remove(connection, api_tokens, old.hash)
            else:
                # Its last use may be written meanwhile, without its tenant's lock.
                dying = replace(standing, expires_at=old_expires_at)
                changed = {"expires_at": dying.expires_at, "checksum": dying.checksum()}
                connection.execute(update(api_tokens).where(api_tokens.c.hash == old.hash).values(changed))
            raise_signal(connection)
            self._record(connection, audited, of_rotation, audit, old, new)
            return True

        return self._database.write(work)

    def remove_api_token(self, hash: str, *, audit: AuditEntry | None = None) -> bool:
        of_token = api_tokens.c.hash == hash

        def work(connection: Connection) -> bool:
            tenant_hash = connection.scalar(select(api_tokens.c.tenant_hash).where(of_token))
            if tenant_hash is None:
                return False
            audited = lock_tenant(connection, tenant_hash).audited
            if not remove(connection, api_tokens, hash):
                return False
            last = not connection.scalar(select(exists().where(api_tokens.c.tenant_hash == tenant_hash)))
            if last:
                remove(connection, tenants, tenant_hash)
            raise_signal(connection)
            self._record(connection, audited, of_removed_token, audit, tenant_hash, hash, last=last)
            return True

        return self._database.write(work)

    def touch_api_tokens(self, last_used: Mapping[str, int]) -> None:
        if not last_used:
            return
        forward = (
            update(api_tokens)
            .where(api_tokens.c.hash == bindparam("of_hash"))
            .where(or_(api_tokens.c.last_used.is_(None), api_tokens.c.last_used < bindparam("used_at")))
            .values(last_used=bindparam("used_at"))
        )

        def work(connection: Connection) -> None:
            connection.execute(
                forward, [{"of_hash": hash, "used_at": used_at} for hash, used_at in sorted(last_used.items())]
            )

        self._database.write(work)

    def scan_api_tokens(
        self, tenant_hash: str | None, after: tuple[int, str] | None, limit: int
    ) -> list[APITokenRecord]:
        question = token_page(tenant_hash, after)
        found = self._database.ask(question, tenant_hash, *(after or (None, None)), limit)
        return [_rows.api_token(row) for row in found]

    def find_api_token_records(self, prefix: str) -> list[APITokenRecord]:
        found = self._database.ask(TOKENS_OF_PREFIX, prefix, last_of_prefix(prefix))
        return [_rows.api_token(row) for row in found]

    def read_tenant(self, tenant_hash: str, now: int) -> TenantCounts | None:
        with self._database.read() as connection:
            return _counts.read_tenant(connection, tenant_hash, now)

    def scan_tenants(self, after: str | None, limit: int, now: int) -> list[TenantCounts]:
        with self._database.read() as connection:
            return _counts.scan_tenants(connection, after, limit, now)

    def find_tenants(self, prefix: str) -> list[str]:
        hash = tenants.c.tenant_hash
        query = select(hash).where(hash >= prefix, hash <= last_of_prefix(prefix), hash != SYSTEM_TENANT)
        with self._database.read() as connection:
            return list(connection.scalars(query.order_by(hash)))

    def remove_tenant(self, tenant_hash: str, *, audit: AuditEntry | None = None) -> bool:
        def work(connection: Connection) -> bool:
            tenant = lock_tenant(connection, tenant_hash)
            if not tenant.stands:
                return False
            remove(connection, tenants, tenant_hash)
            raise_signal(connection)
            self._record(connection, tenant.audited, of_store, audit)
            return True

        return self._database.write(work)

    # Secrets

    def change_secret(
        self, place: Place, change: Change, mode: bytes, *, audit: AuditEntry | None = None
    ) -> SecretState | None:
        def work(connection: Connection) -> SecretState | None:
            tenant = lock_tenant(connection, place.tenant_hash)
            secret = find_secret(connection, place)
            counter = find_counter(connection, place)
            before = SecretState(tenant.stands, secret, counter or CounterRecord(place))
            answer = change(before)
            if answer is None:
                return None
            if before.needs_mode(answer):
                settle(connection, mode)
            table = _rows.SECRET_TABLES[place.kind]
            if answer.secret is None:
                remove(connection, table, *secret_key(place))
            elif answer.secret is not secret:
                write(connection, answer.secret, standing=secret)
            if answer.counter != counter:
                write(connection, answer.counter, standing=counter)
            self._record(connection, tenant.audited, of_change, audit, before, answer)
            return answer

        return self._database.write(work)

    def read_secret(self, place: Place) -> SecretRecord | None:
        try:
            found = self._database.ask(SECRET[place.kind], *secret_key(place))
        except UnreadableText:
            raise CorruptRecord(place.kind, tenant_hash=place.tenant_hash, service=place.service) from None
        return _rows.SECRET_READERS[place.kind](found[0]) if found else None

    def scan_secrets(self, tenant_hash: str, kind: Kind) -> list[SecretRecord]:
        return [_rows.SECRET_READERS[kind](row) for row in self._database.ask(SECRETS_OF_TENANT[kind], tenant_hash)]

    def insert_auth_code(self, code: AuthCodeRecord, mode: bytes, *, audit: AuditEntry | None = None) -> None:
        def work(connection: Connection) -> None:
            audited = settle(connection, mode)
            if not lock_tenant(connection, code.place.tenant_hash).stands:
                raise TenantNotFound
            add(connection, code)
            self._record(connection, audited, of_code, audit, code)

        self._database.write(work)

    def take_auth_code(self, hash: str, *, audit: AuditEntry | None = None) -> AuthCodeRecord | None:
        this = auth_codes.c.hash == hash

        def work(connection: Connection) -> AuthCodeRecord | None:
            found = rows(connection, select(auth_codes, AUDITED).where(this).with_for_update())
            if not found:
                return None
            record = _rows.auth_code(found[0])
            connection.execute(delete(auth_codes).where(this))
            self._record(connection, bool(found[0]["audited"]), of_code, audit, record)
            return record

        return self._database.write(work)

    # The store

    def read_mark(self, name: str) -> bytes | None:
        return mark_in(self._database.ask(MARK, name))

    def write_mark(self, name: str, value: bytes | None, *, audit: AuditEntry | None = None) -> None:
        def work(connection: Connection) -> None:
            audited = audit is not None and (is_audited(connection) or (name == AUDIT_MARK and value is not None))
            write_mark(connection, name, value)
            self._record(connection, audited, of_store, audit)

        self._database.write(work)

    def _record(
        self,
        connection: Connection,
        audited: bool,
        rule: Callable[P, list[AuditEntry]],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> None:
        """The last step of a change."""
        if audited and (entries := rule(*arguments, **named)):
            self.hand_to_sink(_audit.append(connection, entries))

    def scan_audit_records(
        self, tenant_hash: str | None, after: tuple[int, int, str] | None, limit: int
    ) -> list[AuditRecord]:
        with self._database.read() as connection, any_text(connection):
            return _audit.scan_records(connection, tenant_hash, after, limit)

    def scan_audit_chains(self, after: str | None, limit: int) -> list[AuditChain]:
        with self._database.read() as connection, any_text(connection):
            return _audit.scan_chains(connection, after, limit)

    def cut_audit_chains(self, before: int, limit: int, *, audit: AuditEntry | None = None) -> int:
        def work(connection: Connection) -> int:
            if audit is not None and not is_audited(connection):
                return 0
            count = _audit.cut(connection, before, limit)
            if count:
                self._record(connection, audit is not None, of_store, audit, before=before, records=count)
            return count

        return self._database.write(work)

    def change_signal(self) -> int:
        ((value,),) = self._database.ask(SIGNAL, CHANGES)
        return int(value)

    def signal_reader(self) -> AbstractContextManager[Callable[[], int]]:
        return self._location.signal_reader()

    def scan_records(self, after: str | None, limit: int) -> RecordPage:
        with self._database.snapshot() as connection:
            return scan_page(connection, after, limit)

    def insert_records(
        self,
        records: Sequence[Record],
        mode: bytes,
        resolve: Resolve = refuse_conflict,
        *,
        audit: AuditEntry | None = None,
    ) -> int:
        def work(connection: Connection) -> int:
            audited = settle(connection, mode)
            written = insert_records(connection, records, resolve)
            self._record(connection, audited, of_written, audit, written)
            return len(written)

        return self._database.write(work)

    def replace_payloads(
        self, replacements: Sequence[tuple[SecretRecord | AuthCodeRecord, bytes]], *, audit: AuditEntry | None = None
    ) -> int:
        def work(connection: Connection) -> int:
            replaced = replace_payloads(connection, replacements)
            if audit is not None and replaced:
                self._record(connection, is_audited(connection), of_store, audit, records=replaced)
            return replaced

        return self._database.write(work)

    def purge_records(self, now: int, limit: int, *, audit: AuditEntry | None = None) -> dict[str, int]:
        def work(connection: Connection) -> dict[str, int]:
            entry = audit if audit is not None and is_audited(connection) else None
            purged, entries = purge(connection, now, limit, entry)
            self._record(connection, bool(entries), list, entries)
            return purged

        return self._database.write(work)

    def count_records(self, now: int) -> StoreStats:
        with self._database.snapshot() as connection:
            return _counts.count_records(connection, now, bytes_on_disk=self._location.bytes_on_disk(connection))

    def read_schema_version(self) -> str:
        return HEAD

    def find_damage(self) -> Iterator[CorruptPlace]:
        with self._database.snapshot() as connection:
            for line in self._location.damage(connection):
                yield CorruptPlace("database", "", "", line)

    def backup_storage(self, path: str | PathLike[str]) -> None:
        self._location.backup(self._database, Path(path))

    def close_storage(self) -> None:
        self._database.close()

    def after_fork(self) -> None:
        self._last_used.reset()
        self.guard.reset()
        self._database.after_fork()
