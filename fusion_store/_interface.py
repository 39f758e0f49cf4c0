"""The interface of the vault: the typed operations, nothing else.

What holds for every operation, on every backend:

- Absent is None: ``get`` answers None, ``delete`` False, ``list`` something empty. Writing under an unknown
  tenant raises ``TenantNotFound``; a conflict raises and changes nothing.
- A call that returns has been made durable. All that one call changes, changes in one atomic step
  (``purge_expired`` and ``import_records`` work in batches, each atomic, and can be run again).
- Input over a limit, of the wrong type or malformed is ``InvalidInput`` naming the field; nothing is written.
  A string that can't be a hash names nothing, so it is absent.
- Names are compared byte for byte.
- Expiry, deadlines and order follow the repository's clock. A record is expired from ``expires_at`` on.
- After ``close`` every operation raises ``StoreClosed``; in a process forked off later, ``ForkedHandle``
  where the backend can't be shared.
- What goes wrong in the storage is a ``StoreError``; a driver's exception never escapes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from os import PathLike
from types import TracebackType
from typing import Any, Final, Self

from fusion_store._audit import AuditRecord
from fusion_store._records import ExportedRecord
from fusion_store._values import (
    APITokenMetadata,
    AuthCode,
    CheckReport,
    CredentialType,
    Health,
    IssuedToken,
    OAuthTokenData,
    RefreshClaim,
    ServiceCredentials,
    StoreStats,
    TenantInfo,
)

HEALTH_TIMEOUT: Final = timedelta(seconds=5)


class TokenRepository(ABC):
    """A multi-tenant vault for API tokens, OAuth tokens and service credentials.

    Safe for use by many threads. Whoever opened it closes it, with ``close`` or by leaving its ``with`` block.
    """

    # Tenants and API tokens

    @abstractmethod
    def add_api_token(
        self,
        description: str = "",
        *,
        tenant_hash: str | None = None,
        scopes: Sequence[str] = (),
        expires_at: datetime | None = None,
    ) -> IssuedToken:
        """Issue an API token: of a new tenant, or one more of the standing tenant ``tenant_hash``.

        The token is 64 hex characters from 32 random bytes, or with a configured token prefix that prefix,
        ``_``, 43 base62 characters and a CRC-32 of these as 6 more. Only its SHA-256 is stored. A new
        tenant's ``tenant_hash`` is the hash of this token.

        Raises ``TenantNotFound``, and ``InvalidInput`` for the system tenant.
        """

    @abstractmethod
    def validate_api_token(self, token: str) -> APITokenMetadata | None:
        """The metadata of a live token; None for anything else, malformed and expired included.

        ``last_used`` in the answer is the value before this call. The new one is kept in memory and written
        with others in one step: every 30 s, or when many wait, and on ``flush`` and ``close``. It only
        moves forward.
        """

    @abstractmethod
    def get_api_token(self, hash: str) -> APITokenMetadata | None:
        """The metadata of the token with that full hash, expired or not; None when there is none."""

    @abstractmethod
    def list_api_tokens(
        self, *, tenant_hash: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[APITokenMetadata]:
        """Up to ``limit`` tokens, expired ones included, ordered by (``created_at``, ``hash``).

        ``after`` is the ``cursor`` of the last one seen. Tokens added or deleted meanwhile make no other
        token appear twice or be left out.
        """

    @abstractmethod
    def iter_api_tokens(self) -> Iterator[APITokenMetadata]:
        """All tokens in the order of ``list_api_tokens``, read page by page in constant memory."""

    @abstractmethod
    def find_api_tokens(self, prefix: str) -> list[APITokenMetadata]:
        """All tokens whose ``prefix`` or ``hash`` begins with ``prefix``, in the order of ``list_api_tokens``.

        Needs at least 4 characters, else ``InvalidInput``; compares case-sensitively.
        """

    @abstractmethod
    def resolve_api_token(self, identifier: str) -> APITokenMetadata:
        """The one token that a full hash or a prefix of at least 4 characters (as in ``find_api_tokens``) names.

        Raises ``TokenNotFound``, or ``AmbiguousIdentifier`` with the hashes of all matches.
        """

    @abstractmethod
    def rotate_api_token(self, hash: str, *, grace: timedelta = timedelta(0)) -> IssuedToken:
        """Replace a live token: the new one has its tenant, description and scopes, and its lifetime begun anew.

        The old token dies after ``grace``, and never lives longer than it would have; without a grace it is
        deleted in the same step. Raises ``TokenNotFound`` when the token is unknown or expired.
        """

    @abstractmethod
    def delete_api_token(self, hash: str) -> bool:
        """Delete a token, expired or not; with a tenant's last one goes the tenant, as by ``delete_tenant``.

        When this returns the token is dead in this process. False when there was none.
        """

    @abstractmethod
    def delete_tenant(self, tenant_hash: str) -> bool:
        """Delete a tenant with its API tokens, OAuth tokens, credentials, codes, claims and counters.

        One atomic step; nothing can be written under the tenant afterwards. False when there was none;
        ``InvalidInput`` for the system tenant.
        """

    @abstractmethod
    def get_tenant(self, tenant_hash: str) -> TenantInfo | None:
        """A tenant and how much it holds, the system tenant included; None when there is none."""

    @abstractmethod
    def list_tenants(self, *, after: str | None = None, limit: int = 100) -> list[TenantInfo]:
        """Up to ``limit`` tenants ordered by ``tenant_hash``, without the system tenant.

        ``after`` is the ``cursor`` of the last one seen.
        """

    @abstractmethod
    def resolve_tenant(self, identifier: str) -> str:
        """The hash of the one tenant that a full tenant hash or a prefix of at least 4 characters names.

        Works also when the token the tenant was created with is gone. The system tenant is found by its full
        hash only. Raises ``TenantNotFound``, or ``AmbiguousIdentifier`` with the hashes of all matches.
        """

    # OAuth tokens

    @abstractmethod
    def store_oauth_token(
        self,
        tenant_hash: str,
        service: str,
        token: OAuthTokenData,
        *,
        expected_version: int | None = None,
    ) -> OAuthTokenData:
        """Store a tenant's token for a service, and answer it as stored.

        Keeps a standing token's ``created_at``, sets ``updated_at``, adds one to ``version``; version and
        times of ``token`` are ignored. Ends a refresh claim that is held on it. With ``expected_version``
        the standing token must have that version, 0 meaning that none may stand, else ``VersionConflict``.
        """

    @abstractmethod
    def get_oauth_token(self, tenant_hash: str, service: str) -> OAuthTokenData | None:
        """The tenant's token for a service, expired or not; None when there is none."""

    @abstractmethod
    def delete_oauth_token(self, tenant_hash: str, service: str, *, expected_version: int | None = None) -> bool:
        """Delete a token and end a refresh claim held on it; False when there was none.

        A token of another version than ``expected_version`` stays: ``VersionConflict``. The counters
        (``version``, ``fence``) outlive it.
        """

    @abstractmethod
    def list_oauth_tokens(self, tenant_hash: str) -> dict[str, OAuthTokenData]:
        """All of the tenant's tokens by service, ordered by the service's UTF-8 bytes."""

    @abstractmethod
    def claim_refresh(
        self, tenant_hash: str, service: str, *, ttl: timedelta, owner: str | None = None
    ) -> RefreshClaim | None:
        """Claim the right to refresh the token, for ``ttl``; None while another claim is live.

        At most one live claim stands per tenant and service, across all threads and processes; it may be
        taken where no token stands yet. ``owner`` says in operators' views who holds it: up to 128
        characters, by default host, process and thread. Nothing is held open between the calls.
        """

    @abstractmethod
    def commit_refresh(self, claim: RefreshClaim, token: OAuthTokenData) -> OAuthTokenData:
        """Store the refreshed token and end the claim, in one step.

        Works past the deadline too, as long as no newer claim was taken: a rotated refresh token must not be
        lost. Raises ``ClaimLost`` when a newer claim was taken, the claim was released, or the token was
        stored or deleted since; ``TenantNotFound`` when the tenant is gone.
        """

    @abstractmethod
    def release_refresh(self, claim: RefreshClaim) -> None:
        """End the claim without storing anything; does nothing when it has ended already."""

    @abstractmethod
    def create_auth_code(
        self,
        tenant_hash: str,
        service: str,
        *,
        ttl: timedelta,
        payload: Mapping[str, Any] | None = None,
    ) -> str:
        """A single-use code (43 url-safe characters) that hands ``payload`` to whoever redeems it in time.

        ``payload`` is a JSON object of up to 16 KiB, by default empty. Only the code's SHA-256 is stored.
        """

    @abstractmethod
    def redeem_auth_code(self, code: str) -> AuthCode | None:
        """Take a code: exactly one caller gets it, under any race.

        None for anything that isn't a live code: unknown, taken, expired, malformed.
        """

    # Service credentials

    @abstractmethod
    def store_credentials(
        self,
        tenant_hash: str,
        service: str,
        credentials: ServiceCredentials,
        *,
        expected_version: int | None = None,
    ) -> ServiceCredentials:
        """Store a credential under (``service``, ``credentials.type``), and answer it as stored.

        Times, version and ``expected_version`` are as for ``store_oauth_token``; an expired credential
        counts as absent.
        """

    @abstractmethod
    def get_credentials(
        self, tenant_hash: str, service: str, credential_type: CredentialType
    ) -> ServiceCredentials | None:
        """The credential of that service and type, ``data`` being a fresh copy; None when absent or expired."""

    @abstractmethod
    def delete_credentials(self, tenant_hash: str, service: str, credential_type: CredentialType) -> bool:
        """Delete a credential; False when there was none or it had expired."""

    @abstractmethod
    def list_credentials(
        self, tenant_hash: str, *, credential_type: CredentialType | None = None
    ) -> dict[tuple[str, CredentialType], ServiceCredentials]:
        """The tenant's credentials by (service, type), ordered by the service's UTF-8 bytes and the type."""

    # System

    @abstractmethod
    def schema_version(self) -> str:
        """The version of the store's schema."""

    @abstractmethod
    def stats(self) -> StoreStats:
        """How much the store holds."""

    @abstractmethod
    def health(self, *, timeout: timedelta = HEALTH_TIMEOUT) -> Health:
        """Whether a record can be written, read back and deleted within ``timeout``.

        A storage failure is an answer, not an error. What was asked runs on after the timeout; until it ends further
        calls are answered at once: not healthy.
        """

    @abstractmethod
    def check(self) -> CheckReport:
        """Read every record and every index, and report all that is corrupt."""

    @abstractmethod
    def audit_log(
        self, *, tenant_hash: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[AuditRecord]:
        """Up to ``limit`` audit records: of one tenant, deleted or not, or of all. Empty where none were ever kept.

        A tenant's, and with an empty ``tenant_hash`` the store's own, come in the order of the changes; those of all
        by (``recorded_at``, ``tenant_hash``, ``sequence``). ``after`` is the ``cursor`` of the last one seen. A record
        that was altered raises ``CorruptRecord``.
        """

    @abstractmethod
    def purge_expired(self) -> dict[str, int]:
        """Delete what has expired, and say how much: ``codes``, ``claims``, ``credentials``, ``api_tokens``.

        A tenant's last API token stays: of several expired ones, the last in the order of
        ``list_api_tokens``. A claim purged after its deadline can still be committed. Where audit records are kept
        for a limited time, the older ones go too: ``audit_records``. Where the system tenant's credentials are gone,
        ``version`` begins anew afterwards, so that short-lived ones under ever-new names leave nothing behind.
        """

    @abstractmethod
    def backup(self, path: str | PathLike[str]) -> None:
        """Write a complete, consistent copy of the store to ``path``, while it is in use.

        ``path`` must not exist (``AlreadyExists``); it opens as a store of this backend. After a failure
        nothing is left there.
        """

    @abstractmethod
    def export_records(self) -> Iterator[ExportedRecord]:
        """Every record of the store, tenant by tenant in the order of their hashes, in constant memory.

        Hashes, times, versions and payloads are as stored, sealed ones too; counters and codes are included,
        claims not. A sealed store's mark comes first. A corrupt record raises ``CorruptRecord``.
        """

    @abstractmethod
    def import_records(self, records: Iterable[ExportedRecord]) -> int:
        """Add exported records, and say how many were new.

        A record that stands already with the same content is passed over, so that an import can be run
        again; one with other content is ``AlreadyExists``. Plain records are sealed on their way into a sealed
        store; an empty store takes the mode of the records. A malformed record is ``InvalidInput``, one of a
        tenant that neither stands nor came before it is ``TenantNotFound``; earlier batches stay.
        """

    @abstractmethod
    def flush(self) -> None:
        """Write every pending ``last_used``."""

    @abstractmethod
    def close(self) -> None:
        """Flush, wait for calls under way, then release the storage. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
