"""The typed operations, written once over the storage operations."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import wraps
from itertools import islice
from os import PathLike
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from msgspec.structs import replace

from fusion_store._errors import (
    AmbiguousIdentifier,
    ConfigError,
    CorruptRecord,
    CorruptStore,
    ForkedHandle,
    FusionStoreError,
    InvalidInput,
    StoreClosed,
    StoreError,
    TenantNotFound,
    TokenNotFound,
)
from fusion_store._records import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    Record,
    SecretRecord,
    TenantRecord,
)
from fusion_store._values import (
    SYSTEM_TENANT,
    APITokenMetadata,
    AuthCode,
    CheckReport,
    CorruptPlace,
    CredentialType,
    Health,
    IssuedToken,
    OAuthTokenData,
    RefreshClaim,
    ServiceCredentials,
    StoreStats,
    TenantInfo,
)
from fusion_store.backend import _limits as limits
from fusion_store.backend import _payloads as payloads
from fusion_store.backend import _rules as rules
from fusion_store.backend._check import check_record
from fusion_store.backend._guard import InFlightGuard
from fusion_store.backend._last_used import LastUsedCoalescer
from fusion_store.backend._storage import RecordPage, Storage, TenantCounts
from fusion_store.backend._tokens import hash_token, new_api_token, new_auth_code

_PAGE: Final = 500
_IMPORT_BATCH: Final = 500
_PURGE_BATCH: Final = 1000

_log: Final = logging.getLogger("fusion_store")

P = ParamSpec("P")
R = TypeVar("R")


def _operation(
    method: Callable[Concatenate[RecordRepository, P], R],
) -> Callable[Concatenate[RecordRepository, P], R]:
    """Runs a typed operation inside the in-flight guard."""

    @wraps(method)
    def guarded(self: RecordRepository, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.guard:
            return method(self, *args, **kwargs)

    return guarded


class RecordRepository(Storage):
    """The base of every backend and layer: typed operations here, storage operations in the subclass.

    ``clock`` answers the present as an aware datetime; by default it is the system's. ``guard`` is given by a
    layer, which shares the one of the repository it wraps.
    """

    encryption: str = "plain"

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] | None = None,
        token_prefix: str | None = None,
        guard: InFlightGuard | None = None,
    ) -> None:
        try:
            self._token_prefix = limits.token_prefix(token_prefix)
        except InvalidInput as error:
            raise ConfigError(str(error)) from None
        self._clock = clock
        self.guard = InFlightGuard() if guard is None else guard
        self._last_used = LastUsedCoalescer(self._write_last_used)
        _open_repositories.add(self)

    def _now(self) -> int:
        if self._clock is None:
            return time.time_ns() // 1000
        return limits.micros(self._clock(), "clock")

    # Tenants and API tokens

    @_operation
    def add_api_token(
        self,
        description: str = "",
        *,
        tenant_hash: str | None = None,
        scopes: Sequence[str] = (),
        expires_at: datetime | None = None,
    ) -> IssuedToken:
        limits.description(description)
        granted = limits.scopes(scopes, "scopes")
        expiry = limits.optional_micros(expires_at, "expires_at")
        standing = tenant_hash
        if tenant_hash is not None:
            standing = limits.record_hash(tenant_hash, "tenant_hash")
            if standing is None:
                raise TenantNotFound
            if standing == SYSTEM_TENANT:
                raise InvalidInput("tenant_hash", "the system tenant has no API tokens")
        now = self._now()
        token, prefix = new_api_token(self._token_prefix)
        hash = _known_hash(token)
        record = APITokenRecord(
            hash=hash,
            prefix=prefix,
            tenant_hash=standing or hash,
            description=description,
            scopes=granted,
            created_at=now,
            last_used=None,
            expires_at=expiry,
        )
        self.insert_api_token(record, None if standing else TenantRecord(hash, now))
        return IssuedToken(token, self._metadata(record))

    def validate_api_token(self, token: str) -> APITokenMetadata | None:
        with self.guard:
            hash = hash_token(token)
            record = None if hash is None else self.read_api_token(hash)
            if record is None:
                return None
            now = self._now()
            if record.expires_at is not None and record.expires_at <= now:
                return None
            return _metadata(record, self._last_used.note(record.hash, now))

    @_operation
    def get_api_token(self, hash: str) -> APITokenMetadata | None:
        known = limits.record_hash(hash, "hash")
        record = None if known is None else self.read_api_token(known)
        return None if record is None else self._metadata(record)

    @_operation
    def list_api_tokens(
        self, *, tenant_hash: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[APITokenMetadata]:
        place, size = limits.token_cursor(after), limits.page_size(limit)
        if tenant_hash is not None and limits.record_hash(tenant_hash, "tenant_hash") is None:
            return []
        return [self._metadata(token) for token in self.scan_api_tokens(tenant_hash, place, size)]

    def iter_api_tokens(self) -> Iterator[APITokenMetadata]:
        self.guard.check()
        return self._iter_api_tokens()

    def _iter_api_tokens(self) -> Iterator[APITokenMetadata]:
        after = None
        while page := self.list_api_tokens(after=after, limit=_PAGE):
            for token in page:
                self.guard.check()
                yield token
            after = page[-1].cursor

    @_operation
    def find_api_tokens(self, prefix: str) -> list[APITokenMetadata]:
        return self._find_api_tokens(limits.identifier(prefix, "prefix"))

    def _find_api_tokens(self, prefix: str) -> list[APITokenMetadata]:
        if not (prefix.isascii() and prefix.isalnum()):
            return []
        found = sorted(self.find_api_token_records(prefix), key=lambda r: (r.created_at, r.hash))
        return [self._metadata(record) for record in found]

    @_operation
    def resolve_api_token(self, identifier: str) -> APITokenMetadata:
        found = self._find_api_tokens(limits.identifier(identifier, "identifier"))
        if not found:
            raise TokenNotFound
        if len(found) > 1:
            raise AmbiguousIdentifier(f"{len(found)} API tokens match", tuple(token.hash for token in found))
        return found[0]

    @_operation
    def rotate_api_token(self, hash: str, *, grace: timedelta = timedelta(0)) -> IssuedToken:
        known = limits.record_hash(hash, "hash")
        limits.later(0, grace, "grace", least=timedelta(0))
        while True:
            now = self._now()
            old = None if known is None else self.read_api_token(known)
            if old is None or (old.expires_at is not None and old.expires_at <= now):
                raise TokenNotFound
            token, prefix = new_api_token(self._token_prefix)
            new = replace(
                old,
                hash=_known_hash(token),
                prefix=prefix,
                created_at=now,
                last_used=None,
                expires_at=_renewed_expiry(old, now),
            )
            end_of_grace = limits.later(now, grace, "grace", least=timedelta(0)) if grace else None
            if end_of_grace is not None and old.expires_at is not None:
                end_of_grace = min(end_of_grace, old.expires_at)
            if self.replace_api_token(old, new, end_of_grace):
                return IssuedToken(token, self._metadata(new))

    @_operation
    def delete_api_token(self, hash: str) -> bool:
        known = limits.record_hash(hash, "hash")
        return known is not None and self.remove_api_token(known)

    @_operation
    def delete_tenant(self, tenant_hash: str) -> bool:
        known = limits.record_hash(tenant_hash, "tenant_hash")
        if known == SYSTEM_TENANT:
            raise InvalidInput("tenant_hash", "the system tenant can't be deleted")
        return known is not None and self.remove_tenant(known)

    @_operation
    def get_tenant(self, tenant_hash: str) -> TenantInfo | None:
        known = limits.record_hash(tenant_hash, "tenant_hash")
        counts = None if known is None else self.read_tenant(known, self._now())
        return None if counts is None else _tenant_info(counts)

    @_operation
    def list_tenants(self, *, after: str | None = None, limit: int = 100) -> list[TenantInfo]:
        place, size = limits.tenant_cursor(after), limits.page_size(limit)
        return [_tenant_info(counts) for counts in self.scan_tenants(place, size, self._now())]

    @_operation
    def resolve_tenant(self, identifier: str) -> str:
        prefix = limits.identifier(identifier, "identifier")
        if prefix == SYSTEM_TENANT:
            return prefix
        found = self.find_tenants(prefix) if prefix.isascii() and prefix.isalnum() else []
        if not found:
            raise TenantNotFound
        if len(found) > 1:
            raise AmbiguousIdentifier(f"{len(found)} tenants match", tuple(found))
        return found[0]

    def _metadata(self, record: APITokenRecord) -> APITokenMetadata:
        return _metadata(record, self._last_used.pending(record.hash))

    # OAuth tokens

    @_operation
    def store_oauth_token(
        self,
        tenant_hash: str,
        service: str,
        token: OAuthTokenData,
        *,
        expected_version: int | None = None,
    ) -> OAuthTokenData:
        place = _writable_place(tenant_hash, Kind.OAUTH, service)
        expected = limits.version(expected_version)
        expires_at, payload = _oauth_payload(place, token)
        change = rules.store(place, payload, expires_at, self._now(), expected)
        return _stored_oauth(token, self._put_secret(place, change))

    @_operation
    def get_oauth_token(self, tenant_hash: str, service: str) -> OAuthTokenData | None:
        place = _place(tenant_hash, Kind.OAUTH, service)
        record = None if place is None else self.read_secret(place)
        return None if record is None else _read_oauth(record)

    @_operation
    def delete_oauth_token(self, tenant_hash: str, service: str, *, expected_version: int | None = None) -> bool:
        place = _place(tenant_hash, Kind.OAUTH, service)
        expected = limits.version(expected_version)
        change = rules.delete(self._now(), expected)
        return place is not None and self.change_secret(place, change) is not None

    @_operation
    def list_oauth_tokens(self, tenant_hash: str) -> dict[str, OAuthTokenData]:
        return {record.place.service: _read_oauth(record) for record in self._list_secrets(tenant_hash, Kind.OAUTH)}

    @_operation
    def claim_refresh(
        self, tenant_hash: str, service: str, *, ttl: timedelta, owner: str | None = None
    ) -> RefreshClaim | None:
        place = _writable_place(tenant_hash, Kind.OAUTH, service)
        holder = _default_owner() if owner is None else limits.owner(owner)
        now = self._now()
        deadline = limits.later(now, ttl, "ttl")
        state = self.change_secret(place, rules.claim(holder, now, deadline))
        if state is None:
            return None
        return RefreshClaim(
            tenant_hash=tenant_hash,
            service=service,
            owner=holder,
            token_version=state.counter.version,
            fence=state.counter.fence,
            deadline=limits.moment(deadline),
        )

    @_operation
    def commit_refresh(self, claim: RefreshClaim, token: OAuthTokenData) -> OAuthTokenData:
        place, fence = _claimed_place(claim)
        expires_at, payload = _oauth_payload(place, token)
        change = rules.commit(place, payload, expires_at, self._now(), fence)
        return _stored_oauth(token, self._put_secret(place, change))

    @_operation
    def release_refresh(self, claim: RefreshClaim) -> None:
        place, fence = _claimed_place(claim)
        self.change_secret(place, rules.release(fence))

    @_operation
    def create_auth_code(
        self,
        tenant_hash: str,
        service: str,
        *,
        ttl: timedelta,
        payload: Mapping[str, Any] | None = None,
    ) -> str:
        place = _writable_place(tenant_hash, Kind.AUTH_CODE, service)
        expires_at = limits.later(self._now(), ttl, "ttl")
        content = dict(payload) if isinstance(payload, Mapping) else payload
        body = limits.json_object({} if content is None else content, "payload", limits.MAX_CODE_PAYLOAD_BYTES)
        code = new_auth_code()
        sealed = payloads.pack_json(place, expires_at, body)
        self.insert_auth_code(AuthCodeRecord(_known_hash(code), place, sealed, expires_at))
        return code

    @_operation
    def redeem_auth_code(self, code: str) -> AuthCode | None:
        hash = hash_token(code)
        record = None if hash is None else self.take_auth_code(hash)
        if record is None or record.expires_at <= self._now():
            return None
        return AuthCode(
            tenant_hash=record.place.tenant_hash,
            service=record.place.service,
            expires_at=limits.moment(record.expires_at),
            payload=payloads.unpack_json(record),
        )

    # Service credentials

    @_operation
    def store_credentials(
        self,
        tenant_hash: str,
        service: str,
        credentials: ServiceCredentials,
        *,
        expected_version: int | None = None,
    ) -> ServiceCredentials:
        if not isinstance(credentials, ServiceCredentials):
            raise InvalidInput("credentials", "must be a ServiceCredentials")
        kind = limits.credential_type(credentials.type, "type")
        place = _writable_place(tenant_hash, Kind.CREDENTIAL, service, kind)
        expected = limits.version(expected_version)
        body = limits.json_object(credentials.data, "data", limits.MAX_CREDENTIAL_BYTES)
        expires_at = limits.optional_micros(credentials.expires_at, "expires_at")
        payload = payloads.pack_json(place, expires_at, body)
        change = rules.store(place, payload, expires_at, self._now(), expected)
        stored = self._put_secret(place, change)
        return _read_credentials(replace(stored, payload=payload))

    @_operation
    def get_credentials(
        self, tenant_hash: str, service: str, credential_type: CredentialType
    ) -> ServiceCredentials | None:
        kind = limits.credential_type(credential_type)
        place = _place(tenant_hash, Kind.CREDENTIAL, service, kind)
        record = None if place is None else self.read_secret(place)
        if record is None or record.is_absent(self._now()):
            return None
        return _read_credentials(record)

    @_operation
    def delete_credentials(self, tenant_hash: str, service: str, credential_type: CredentialType) -> bool:
        kind = limits.credential_type(credential_type)
        place = _place(tenant_hash, Kind.CREDENTIAL, service, kind)
        if place is None:
            return False
        now = self._now()
        remove = rules.delete(now, None)
        found = False

        def change(state: rules.SecretState) -> rules.SecretState | None:
            nonlocal found
            found = state.secret is not None and not state.secret.is_absent(now)
            return remove(state)

        self.change_secret(place, change)
        return found

    @_operation
    def list_credentials(
        self, tenant_hash: str, *, credential_type: CredentialType | None = None
    ) -> dict[tuple[str, CredentialType], ServiceCredentials]:
        wanted = None if credential_type is None else limits.credential_type(credential_type)
        now = self._now()
        return {
            (record.place.service, CredentialType(record.place.credential_type)): (_read_credentials(record))
            for record in self._list_secrets(tenant_hash, Kind.CREDENTIAL, wanted)
            if not record.is_absent(now)
        }

    def _put_secret(self, place: Place, change: rules.Change) -> SecretRecord:
        state = self.change_secret(place, change)
        assert state is not None
        assert state.secret is not None
        return state.secret

    def _list_secrets(self, tenant_hash: str, kind: Kind, credential_type: str | None = None) -> list[SecretRecord]:
        known = limits.record_hash(tenant_hash, "tenant_hash")
        found = [] if known is None else self.scan_secrets(known, kind)
        return sorted(
            (r for r in found if credential_type in (None, r.place.credential_type)),
            key=lambda r: (r.place.service.encode(), r.place.credential_type),
        )

    # System

    @_operation
    def schema_version(self) -> str:
        return self.read_schema_version()

    @_operation
    def stats(self) -> StoreStats:
        return self.count_records(self._now())

    @_operation
    def health(self) -> Health:
        began = time.perf_counter()
        schema, failure = "", None
        try:
            schema = self.read_schema_version()
            self._round_trip()
        except StoreClosed:
            raise
        except StoreError as error:
            failure = f"{type(error).__name__}: {error}"
        return Health(
            ok=failure is None,
            backend=self.backend_name,
            latency=time.perf_counter() - began,
            schema=schema,
            encryption=self.encryption,
            error=failure,
        )

    def _round_trip(self) -> None:
        name, value = f"health.{secrets.token_hex(8)}", secrets.token_bytes(16)
        self.write_mark(name, value)
        read = self.read_mark(name)
        self.write_mark(name, None)
        if read != value:
            raise CorruptRecord("mark", reason="read back other than written")

    @_operation
    def check(self) -> CheckReport:
        records, corrupt = 0, list[CorruptPlace]()
        try:
            corrupt += self.find_damage()
            for page in self._pages():
                records += len(page.records) + len(page.corrupt)
                corrupt += page.corrupt
                corrupt += filter(None, map(self._corruption, page.records))
        except CorruptStore as error:
            corrupt.append(CorruptPlace("store", "", "", f"reading stopped: {error}"))
        return CheckReport(records, tuple(corrupt))

    def _corruption(self, record: Record) -> CorruptPlace | None:
        try:
            self.check_payload(record)
        except CorruptRecord as error:
            return CorruptPlace(error.kind, error.tenant_hash, error.service, error.reason)
        return None

    def _pages(self) -> Iterator[RecordPage]:
        after: str | None = None
        while True:
            with self.guard:
                page = self.scan_records(after, _PAGE)
            yield page
            after = page.after
            if after is None:
                return

    def check_payload(self, record: Record) -> None:
        """Raise ``CorruptRecord`` when the record's payload, if it has one, doesn't read."""
        if isinstance(record, AuthCodeRecord):
            payloads.unpack_json(record)
        elif isinstance(record, SecretRecord):
            read = _read_oauth if record.place.kind is Kind.OAUTH else _read_credentials
            read(record)

    @_operation
    def purge_expired(self) -> dict[str, int]:
        now = self._now()
        totals = {"codes": 0, "claims": 0, "credentials": 0, "api_tokens": 0}
        while any((purged := self.purge_records(now, _PURGE_BATCH)).values()):
            for name, count in purged.items():
                totals[name] += count
        return totals

    @_operation
    def backup(self, path: str | PathLike[str]) -> None:
        self._last_used.flush()
        self.backup_storage(path)

    def export_records(self) -> Iterator[Record]:
        self.guard.check()
        return self._export_records()

    def _export_records(self) -> Iterator[Record]:
        self.flush()
        for page in self._pages():
            if page.corrupt:
                place = page.corrupt[0]
                raise CorruptRecord(
                    place.kind, tenant_hash=place.tenant_hash, service=place.service, reason=place.reason
                )
            for record in page.records:
                self.guard.check()
                self.check_payload(record)
                yield record.without_claim() if isinstance(record, CounterRecord) else record

    def import_records(self, records: Iterable[Record]) -> int:
        self.guard.check()
        added, source = 0, iter(records)
        while batch := [check_record(record) for record in islice(source, _IMPORT_BATCH)]:
            with self.guard:
                for record in batch:
                    self.check_payload(record)
                added += self.insert_records(batch)
        return added

    @_operation
    def flush(self) -> None:
        self._last_used.flush()

    def _write_last_used(self, last_used: Mapping[str, int]) -> None:
        with self.guard:
            self.touch_api_tokens(last_used)

    def close(self) -> None:
        if not self.guard.close():
            return
        _open_repositories.discard(self)
        self._last_used.stop()
        try:
            self.touch_api_tokens(self._last_used.take())
        except FusionStoreError as error:
            _log.warning("last-used times lost at close: %s", type(error).__name__)
        finally:
            self.close_storage()

    def after_fork(self) -> None:
        self._last_used.reset()
        self.guard.reset()
        self.guard.refuse(ForkedHandle)


def _metadata(record: APITokenRecord, used_since: int | None) -> APITokenMetadata:
    last_used = record.last_used
    if used_since is not None and (last_used is None or last_used < used_since):
        last_used = used_since
    return APITokenMetadata(
        hash=record.hash,
        prefix=record.prefix,
        tenant_hash=record.tenant_hash,
        description=record.description,
        scopes=record.scopes,
        created_at=limits.moment(record.created_at),
        last_used=limits.optional_moment(last_used),
        expires_at=limits.optional_moment(record.expires_at),
    )


def _tenant_info(counts: TenantCounts) -> TenantInfo:
    return TenantInfo(
        tenant_hash=counts.tenant.tenant_hash,
        created_at=limits.moment(counts.tenant.created_at),
        api_tokens=counts.api_tokens,
        oauth_tokens=counts.oauth_tokens,
        credentials=counts.credentials,
    )


def _known_hash(token: str) -> str:
    hash = hash_token(token)
    assert hash is not None
    return hash


def _renewed_expiry(old: APITokenRecord, now: int) -> int | None:
    if old.expires_at is None:
        return None
    return min(now + old.expires_at - old.created_at, limits.LAST_MOMENT)


def _place(tenant_hash: str, kind: Kind, service: str, credential_type: str = "") -> Place | None:
    name = limits.service_name(service)
    known = limits.record_hash(tenant_hash, "tenant_hash")
    return None if known is None else Place(known, kind, name, credential_type)


def _writable_place(tenant_hash: str, kind: Kind, service: str, credential_type: str = "") -> Place:
    place = _place(tenant_hash, kind, service, credential_type)
    if place is None:
        raise TenantNotFound
    return place


def _claimed_place(claim: RefreshClaim) -> tuple[Place, int]:
    if not isinstance(claim, RefreshClaim):
        raise InvalidInput("claim", "must be a RefreshClaim")
    fence = limits.version(claim.fence, "claim.fence")
    if not fence:
        raise InvalidInput("claim.fence", "must be a whole number from 1")
    return _writable_place(claim.tenant_hash, Kind.OAUTH, claim.service), fence


def _default_owner() -> str:
    owner = f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"
    return owner[-limits.MAX_OWNER_CHARS :]


def _oauth_payload(place: Place, token: OAuthTokenData) -> tuple[int | None, bytes]:
    limits.oauth_token(token)
    expires_at = limits.optional_micros(token.expires_at, "expires_at")
    return expires_at, payloads.pack_oauth(place, expires_at, token)


def _stored_oauth(token: OAuthTokenData, record: SecretRecord) -> OAuthTokenData:
    return OAuthTokenData(
        access_token=token.access_token,
        refresh_token=token.refresh_token,
        token_type=token.token_type,
        expires_at=limits.optional_moment(record.expires_at),
        scope=tuple(token.scope),
        metadata=dict(token.metadata),
        created_at=limits.moment(record.created_at),
        updated_at=limits.moment(record.updated_at),
        version=record.version,
    )


def _read_oauth(record: SecretRecord) -> OAuthTokenData:
    body = payloads.unpack_oauth(record)
    return OAuthTokenData(
        access_token=body.access_token,
        refresh_token=body.refresh_token,
        token_type=body.token_type,
        expires_at=limits.optional_moment(record.expires_at),
        scope=body.scope,
        metadata=body.metadata,
        created_at=limits.moment(record.created_at),
        updated_at=limits.moment(record.updated_at),
        version=record.version,
    )


def _read_credentials(record: SecretRecord) -> ServiceCredentials:
    return ServiceCredentials(
        type=CredentialType(record.place.credential_type),
        data=payloads.unpack_json(record),
        expires_at=limits.optional_moment(record.expires_at),
        created_at=limits.moment(record.created_at),
        updated_at=limits.moment(record.updated_at),
        version=record.version,
    )


_open_repositories: weakref.WeakSet[RecordRepository] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for repository in list(_open_repositories):
        repository.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
