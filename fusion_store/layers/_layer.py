"""The base of all layers: a repository over another one's storage operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike

from fusion_store._audit import AuditChain, AuditEntry, AuditRecord
from fusion_store._records import (
    APITokenRecord,
    AuthCodeRecord,
    Kind,
    Place,
    Record,
    SecretRecord,
    TenantRecord,
)
from fusion_store._values import CorruptPlace, StoreStats
from fusion_store.backend import (
    Change,
    RecordPage,
    RecordRepository,
    Resolve,
    SecretState,
    TenantCounts,
    refuse_conflict,
)


class Layer(RecordRepository):
    """Forwards every storage operation to ``inner``; a subclass overrides those it changes.

    It has the clock, token prefix and encryption of ``inner``, shares its in-flight guard and its last-used coalescer,
    and owns it: closing the layer closes ``inner``.
    """

    def __init__(self, inner: RecordRepository) -> None:
        super().__init__(
            clock=inner.clock, token_prefix=inner.token_prefix, guard=inner.guard, last_used=inner._last_used
        )
        self.inner = inner
        self.backend_name = inner.backend_name
        self.encryption = inner.encryption
        self.mode = inner.mode

    def insert_api_token(
        self, token: APITokenRecord, tenant: TenantRecord | None, mode: bytes, *, audit: AuditEntry | None = None
    ) -> None:
        self.inner.insert_api_token(token, tenant, mode, audit=audit)

    def read_api_token(self, hash: str) -> APITokenRecord | None:
        return self.inner.read_api_token(hash)

    def replace_api_token(
        self, old: APITokenRecord, new: APITokenRecord, old_expires_at: int | None, *, audit: AuditEntry | None = None
    ) -> bool:
        return self.inner.replace_api_token(old, new, old_expires_at, audit=audit)

    def remove_api_token(self, hash: str, *, audit: AuditEntry | None = None) -> bool:
        return self.inner.remove_api_token(hash, audit=audit)

    def touch_api_tokens(self, last_used: Mapping[str, int]) -> None:
        self.inner.touch_api_tokens(last_used)

    def scan_api_tokens(
        self, tenant_hash: str | None, after: tuple[int, str] | None, limit: int
    ) -> list[APITokenRecord]:
        return self.inner.scan_api_tokens(tenant_hash, after, limit)

    def find_api_token_records(self, prefix: str) -> list[APITokenRecord]:
        return self.inner.find_api_token_records(prefix)

    def read_tenant(self, tenant_hash: str, now: int) -> TenantCounts | None:
        return self.inner.read_tenant(tenant_hash, now)

    def scan_tenants(self, after: str | None, limit: int, now: int) -> list[TenantCounts]:
        return self.inner.scan_tenants(after, limit, now)

    def find_tenants(self, prefix: str) -> list[str]:
        return self.inner.find_tenants(prefix)

    def remove_tenant(self, tenant_hash: str, *, audit: AuditEntry | None = None) -> bool:
        return self.inner.remove_tenant(tenant_hash, audit=audit)

    def change_secret(
        self, place: Place, change: Change, mode: bytes, *, audit: AuditEntry | None = None
    ) -> SecretState | None:
        return self.inner.change_secret(place, change, mode, audit=audit)

    def read_secret(self, place: Place) -> SecretRecord | None:
        return self.inner.read_secret(place)

    def scan_secrets(self, tenant_hash: str, kind: Kind) -> list[SecretRecord]:
        return self.inner.scan_secrets(tenant_hash, kind)

    def insert_auth_code(self, code: AuthCodeRecord, mode: bytes, *, audit: AuditEntry | None = None) -> None:
        self.inner.insert_auth_code(code, mode, audit=audit)

    def take_auth_code(self, hash: str, *, audit: AuditEntry | None = None) -> AuthCodeRecord | None:
        return self.inner.take_auth_code(hash, audit=audit)

    def read_mark(self, name: str) -> bytes | None:
        return self.inner.read_mark(name)

    def write_mark(self, name: str, value: bytes | None, *, audit: AuditEntry | None = None) -> None:
        self.inner.write_mark(name, value, audit=audit)

    def scan_audit_records(
        self, tenant_hash: str | None, after: tuple[int, int, str] | None, limit: int
    ) -> list[AuditRecord]:
        return self.inner.scan_audit_records(tenant_hash, after, limit)

    def scan_audit_chains(self, after: str | None, limit: int) -> list[AuditChain]:
        return self.inner.scan_audit_chains(after, limit)

    def cut_audit_chains(self, before: int, limit: int, *, audit: AuditEntry | None = None) -> int:
        return self.inner.cut_audit_chains(before, limit, audit=audit)

    def change_signal(self) -> int:
        return self.inner.change_signal()

    def signal_reader(self) -> AbstractContextManager[Callable[[], int]]:
        return self.inner.signal_reader()

    def scan_records(self, after: str | None, limit: int) -> RecordPage:
        return self.inner.scan_records(after, limit)

    def insert_records(
        self,
        records: Sequence[Record],
        mode: bytes,
        resolve: Resolve = refuse_conflict,
        *,
        audit: AuditEntry | None = None,
    ) -> int:
        return self.inner.insert_records(records, mode, resolve, audit=audit)

    def replace_payloads(
        self, replacements: Sequence[tuple[SecretRecord | AuthCodeRecord, bytes]], *, audit: AuditEntry | None = None
    ) -> int:
        return self.inner.replace_payloads(replacements, audit=audit)

    def purge_records(self, now: int, limit: int, *, audit: AuditEntry | None = None) -> dict[str, int]:
        return self.inner.purge_records(now, limit, audit=audit)

    def count_records(self, now: int) -> StoreStats:
        return self.inner.count_records(now)

    def read_schema_version(self) -> str:
        return self.inner.read_schema_version()

    def find_damage(self) -> Iterator[CorruptPlace]:
        return self.inner.find_damage()

    def backup_storage(self, path: str | PathLike[str]) -> None:
        self.inner.backup_storage(path)

    def close_storage(self) -> None:
        self.inner.finish()

    def after_fork(self) -> None:
        """The repository below is told by itself, and what the two share is its own."""

    def check_payload(self, record: Record) -> None:
        self.inner.check_payload(record)

    def check_outgoing(self, record: Record) -> None:
        self.inner.check_outgoing(record)

    def check_incoming(self, record: Record) -> None:
        self.inner.check_incoming(record)
