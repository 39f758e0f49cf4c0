"""The storage operations: all that a backend implements, and all that a layer wraps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from os import PathLike

from fusion_store._audit import AuditChain, AuditEntry, AuditRecord
from fusion_store._interface import TokenRepository
from fusion_store._records import (
    APITokenRecord,
    AuthCodeRecord,
    Kind,
    Place,
    Record,
    SecretRecord,
    TenantRecord,
)
from fusion_store._values import CorruptPlace, StoreStats, Value
from fusion_store.backend._guard import InFlightGuard
from fusion_store.backend._rules import Change, Resolve, SecretState, refuse_conflict


class RecordPage(Value, frozen=True):
    """A page of raw records. ``after`` asks for the next page; None: this was the last one."""

    records: tuple[Record, ...]
    corrupt: tuple[CorruptPlace, ...]
    after: str | None


class TenantCounts(Value, frozen=True):
    """A tenant and how much it holds."""

    tenant: TenantRecord
    api_tokens: int
    oauth_tokens: int
    credentials: int


class Storage(TokenRepository):
    """The abstract storage operations, called by the typed operations with checked arguments.

    What holds for every one of them:

    - One call is one atomic step, durable when it returns; it may be called by many threads at once.
    - It is called inside the in-flight guard, so that the storage isn't closed under it.
    - Times are microseconds since 1970-01-01 UTC. Hashes are 64 hex characters. ``payload`` is opaque.
    - A record that doesn't read as it was written is ``CorruptRecord``.
    - An operation that is given a ``mode`` settles it in the same step before it adds a token, tenant, code or
      secret, or changes a secret, or a place is claimed that holds no record yet, not even counters
      (``SecretState.needs_mode``): ``settle_mode`` says from the mark ``ENCRYPTION_MARK`` what to write there, or
      raises. A store is empty when it holds no tenant but the system's, and nothing under that.
    - An operation that is given an ``audit`` entry records it in the same step, if it changes anything and the mark
      ``AUDIT_MARK`` stands: the kit's ``of_…`` functions say with which entries, ``extend_chains`` turns them into
      records, and these go through ``hand_to_sink`` before anything is made durable. Records outlive their tenant.
    """

    backend_name: str
    """What ``health`` calls the backend, for example ``sqlite``."""
    guard: InFlightGuard
    """Counts the calls under way."""

    # API tokens and tenants

    @abstractmethod
    def insert_api_token(
        self, token: APITokenRecord, tenant: TenantRecord | None, mode: bytes, *, audit: AuditEntry | None = None
    ) -> None:
        """Add a token, with ``tenant`` its new tenant too.

        ``TenantNotFound`` when no tenant is given and the token's doesn't stand; ``AlreadyExists`` when the
        token's hash or the new tenant's stands already.
        """

    @abstractmethod
    def read_api_token(self, hash: str) -> APITokenRecord | None:
        """The token with that hash."""

    @abstractmethod
    def replace_api_token(
        self, old: APITokenRecord, new: APITokenRecord, old_expires_at: int | None, *, audit: AuditEntry | None = None
    ) -> bool:
        """Add ``new``, and delete ``old`` or (given ``old_expires_at``) change its expiry.

        False, and nothing is changed, when ``old`` is gone or its expiry isn't that of ``old`` any more.
        Raises the change signal.
        """

    @abstractmethod
    def remove_api_token(self, hash: str, *, audit: AuditEntry | None = None) -> bool:
        """Delete a token, and with a tenant's last one its tenant; False when there is none.

        Raises the change signal.
        """

    @abstractmethod
    def touch_api_tokens(self, last_used: Mapping[str, int]) -> None:
        """Move ``last_used`` of these tokens (by hash) forward; never back, and not of deleted ones."""

    @abstractmethod
    def scan_api_tokens(
        self, tenant_hash: str | None, after: tuple[int, str] | None, limit: int
    ) -> list[APITokenRecord]:
        """Up to ``limit`` tokens behind ``after``, by (``created_at``, ``hash``); of one tenant or of all."""

    @abstractmethod
    def find_api_token_records(self, prefix: str) -> list[APITokenRecord]:
        """The tokens whose ``prefix`` or ``hash`` begins with ``prefix`` (ASCII letters and digits).

        Each once, in any order.
        """

    @abstractmethod
    def read_tenant(self, tenant_hash: str, now: int) -> TenantCounts | None:
        """The tenant with its counts; credentials that are absent at ``now`` don't count."""

    @abstractmethod
    def scan_tenants(self, after: str | None, limit: int, now: int) -> list[TenantCounts]:
        """Up to ``limit`` tenants behind ``after``, by hash, without the system tenant."""

    @abstractmethod
    def find_tenants(self, prefix: str) -> list[str]:
        """The hashes that begin with ``prefix``, in order, without the system tenant's."""

    @abstractmethod
    def remove_tenant(self, tenant_hash: str, *, audit: AuditEntry | None = None) -> bool:
        """Delete the tenant with all that is its own; False when there is none. Raises the change signal.

        Nothing can be written under it from then on, by writers that had begun before either.
        """

    # Secrets, with their counters

    @abstractmethod
    def change_secret(
        self, place: Place, change: Change, mode: bytes, *, audit: AuditEntry | None = None
    ) -> SecretState | None:
        """Read the state of a place, apply ``change``, write what it answers; answers that.

        Two calls for one place don't overlap. A state whose ``secret`` is None deletes the record. ``change``
        may be applied more than once, and may raise.
        """

    @abstractmethod
    def read_secret(self, place: Place) -> SecretRecord | None:
        """The record at a place."""

    @abstractmethod
    def scan_secrets(self, tenant_hash: str, kind: Kind) -> list[SecretRecord]:
        """The tenant's records of that kind, in any order."""

    @abstractmethod
    def insert_auth_code(self, code: AuthCodeRecord, mode: bytes, *, audit: AuditEntry | None = None) -> None:
        """Add a code; ``TenantNotFound`` when its tenant doesn't stand."""

    @abstractmethod
    def take_auth_code(self, hash: str, *, audit: AuditEntry | None = None) -> AuthCodeRecord | None:
        """Delete a code and answer it: to one caller only."""

    # The store

    @abstractmethod
    def read_mark(self, name: str) -> bytes | None:
        """A small named value of the store itself."""

    @abstractmethod
    def write_mark(self, name: str, value: bytes | None, *, audit: AuditEntry | None = None) -> None:
        """Set a mark; None deletes it. With ``audit``, setting ``AUDIT_MARK`` itself is recorded too."""

    @abstractmethod
    def scan_audit_records(
        self, tenant_hash: str | None, after: tuple[int, int, str] | None, limit: int
    ) -> list[AuditRecord]:
        """Up to ``limit`` audit records behind ``after`` (``recorded_at``, ``sequence``, ``tenant_hash``), unverified.

        Of one chain by ``sequence``, or of all by (``recorded_at``, ``tenant_hash``, ``sequence``).
        """

    @abstractmethod
    def scan_audit_chains(self, after: str | None, limit: int) -> list[AuditChain]:
        """Up to ``limit`` chains behind ``after``, by tenant hash; records that belong to none make an empty one."""

    @abstractmethod
    def cut_audit_chains(self, before: int, limit: int, *, audit: AuditEntry | None = None) -> int:
        """Delete up to ``limit`` records that were recorded before that moment; answers how many.

        Of a chain only the oldest ones go, up to the first that is newer. A chain that holds nothing any more goes
        too, if its tenant is gone. With ``audit``, ``before`` and the number of records are recorded; where the mark
        ``AUDIT_MARK`` doesn't stand, nothing is deleted then.
        """

    @abstractmethod
    def change_signal(self) -> int:
        """A number that differs once a token or tenant was deleted or a token rotated, by whatever process."""

    def signal_reader(self) -> AbstractContextManager[Callable[[], int]]:
        """Answers the change signal each time it is called: for one thread that looks at it several times a second.

        Entered and called outside the guard. A backend where ``change_signal`` costs a connection gives it one of its
        own here. One that needs none raises ``StoreClosed`` once the repository is closed.
        """

        def read() -> int:
            with self.guard:
                return self.change_signal()

        return nullcontext(read)

    @abstractmethod
    def scan_records(self, after: str | None, limit: int) -> RecordPage:
        """The raw records of the next ``limit`` tenants behind ``after`` (None: from the start, the system
        tenant included), tenant by tenant in the order of their hashes, each tenant before what it holds.

        What can't be read, or belongs to no tenant, stands in ``corrupt``. One page is one consistent view.
        """

    @abstractmethod
    def insert_records(
        self,
        records: Sequence[Record],
        mode: bytes,
        resolve: Resolve = refuse_conflict,
        *,
        audit: AuditEntry | None = None,
    ) -> int:
        """Add records as they are, all or none; answers how many were written, new ones and replaced ones.

        ``resolve`` is asked about each one that stands already, in the order of ``records``, and may be asked
        again when the step has to be repeated; one that precedes it in ``records`` stands too. Where it answers a
        record, that is put in place of the standing one, in every field; for an API token the change signal is
        raised then. ``TenantNotFound`` when a record's tenant neither stands nor precedes it.
        """

    @abstractmethod
    def replace_payloads(
        self, replacements: Sequence[tuple[SecretRecord | AuthCodeRecord, bytes]], *, audit: AuditEntry | None = None
    ) -> int:
        """Put another payload into each record that is still the same, all else untouched; answers how many."""

    @abstractmethod
    def purge_records(self, now: int, limit: int, *, audit: AuditEntry | None = None) -> dict[str, int]:
        """Delete up to ``limit`` of each that expired by ``now``; answers the counts of ``purge_expired``, and
        ``counters``: of the system tenant's credentials that are gone, whose places may never be used again.

        Of a claim only what keeps others out (``claim_owner``, ``claim_deadline``) is taken away. A token
        goes only if its tenant has another one that is live, or later in the order of ``list_api_tokens``;
        then the change signal is raised.
        """

    @abstractmethod
    def count_records(self, now: int) -> StoreStats:
        """How much the store holds at ``now``."""

    @abstractmethod
    def read_schema_version(self) -> str:
        """The version of the store's schema."""

    def find_damage(self) -> Iterator[CorruptPlace]:
        """What is wrong besides single records: indexes, references, the file itself."""
        return iter(())

    @abstractmethod
    def backup_storage(self, path: str | PathLike[str]) -> None:
        """As ``TokenRepository.backup``."""

    @abstractmethod
    def close_storage(self) -> None:
        """Release everything; no call is under way, none will follow."""

    def after_fork(self) -> None:
        """Called in a forked child. A backend that can go on there overrides it; the rest refuse."""
