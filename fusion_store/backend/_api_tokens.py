"""The typed operations on API tokens and tenants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from fusion_store._errors import AmbiguousIdentifier, InvalidInput, TenantNotFound, TokenNotFound
from fusion_store._records import APITokenRecord, TenantRecord
from fusion_store._values import SYSTEM_TENANT, APITokenMetadata, IssuedToken, TenantInfo
from fusion_store.backend import _limits as limits
from fusion_store.backend._operations import Operations, operation
from fusion_store.backend._storage import TenantCounts
from fusion_store.backend._tokens import hash_token, known_hash, new_api_token

_PAGE: Final = 500


class APITokenOperations(Operations):
    """API tokens, and the tenants they open."""

    @operation
    def add_api_token(
        self,
        description: str = "",
        *,
        tenant_hash: str | None = None,
        scopes: Sequence[str] = (),
        expires_at: datetime | None = None,
    ) -> IssuedToken:
        text = limits.description(description)
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
        token, prefix = new_api_token(self.token_prefix)
        hash = known_hash(token)
        record = APITokenRecord(
            hash=hash,
            prefix=prefix,
            tenant_hash=standing or hash,
            description=text,
            scopes=granted,
            created_at=now,
            last_used=None,
            expires_at=expiry,
        )
        tenant = None if standing else TenantRecord(hash, now)
        self.insert_api_token(record, tenant, self.mode, audit=self.audit_entry("api_token.add", now=now))
        return IssuedToken(token, self._metadata(record))

    def validate_api_token(self, token: str) -> APITokenMetadata | None:
        with self.guard:
            hash = hash_token(token)
            record = None if hash is None else self.read_api_token(hash)
            if record is None:
                self._note_refusal(token, None)
                return None
            now = self._now()
            if record.expires_at is not None and record.expires_at <= now:
                self._note_refusal(token, record)
                return None
            if self.attempts is not None:
                self.attempts.accept(record, now)
            return _metadata(record, self._last_used.note(record.hash, now))

    def _note_refusal(self, token: object, found: APITokenRecord | None) -> None:
        if self.attempts is not None:
            self.attempts.refuse(token, found, self._now())

    @operation
    def get_api_token(self, hash: str) -> APITokenMetadata | None:
        known = limits.record_hash(hash, "hash")
        record = None if known is None else self.read_api_token(known)
        return None if record is None else self._metadata(record)

    @operation
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

    @operation
    def find_api_tokens(self, prefix: str) -> list[APITokenMetadata]:
        return self._find_api_tokens(limits.identifier(prefix, "prefix"))

    def _find_api_tokens(self, prefix: str) -> list[APITokenMetadata]:
        if not (prefix.isascii() and prefix.isalnum()):
            return []
        found = sorted(self.find_api_token_records(prefix), key=lambda r: (r.created_at, r.hash))
        return [self._metadata(record) for record in found]

    @operation
    def resolve_api_token(self, identifier: str) -> APITokenMetadata:
        found = self._find_api_tokens(limits.identifier(identifier, "identifier"))
        if not found:
            raise TokenNotFound
        if len(found) > 1:
            raise AmbiguousIdentifier(f"{len(found)} API tokens match", tuple(token.hash for token in found))
        return found[0]

    @operation
    def rotate_api_token(self, hash: str, *, grace: timedelta = timedelta(0)) -> IssuedToken:
        known = limits.record_hash(hash, "hash")
        limits.later(0, grace, "grace", least=timedelta(0))
        while True:
            now = self._now()
            old = None if known is None else self.read_api_token(known)
            if old is None or (old.expires_at is not None and old.expires_at <= now):
                raise TokenNotFound
            token, prefix = new_api_token(self.token_prefix)
            new = replace(
                old,
                hash=known_hash(token),
                prefix=prefix,
                created_at=now,
                last_used=None,
                expires_at=_renewed_expiry(old, now),
            )
            end_of_grace = limits.later(now, grace, "grace", least=timedelta(0)) if grace else None
            if end_of_grace is not None and old.expires_at is not None:
                end_of_grace = min(end_of_grace, old.expires_at)
            audit = self.audit_entry("api_token.rotate", now=now)
            if self.replace_api_token(old, new, end_of_grace, audit=audit):
                return IssuedToken(token, self._metadata(new))

    @operation
    def delete_api_token(self, hash: str) -> bool:
        known = limits.record_hash(hash, "hash")
        return known is not None and self.remove_api_token(known, audit=self.audit_entry("api_token.delete"))

    @operation
    def delete_tenant(self, tenant_hash: str) -> bool:
        known = limits.record_hash(tenant_hash, "tenant_hash")
        if known == SYSTEM_TENANT:
            raise InvalidInput("tenant_hash", "the system tenant can't be deleted")
        if known is None:
            return False
        return self.remove_tenant(known, audit=self.audit_entry("tenant.delete", tenant_hash=known))

    @operation
    def get_tenant(self, tenant_hash: str) -> TenantInfo | None:
        known = limits.record_hash(tenant_hash, "tenant_hash")
        counts = None if known is None else self.read_tenant(known, self._now())
        return None if counts is None else _tenant_info(counts)

    @operation
    def list_tenants(self, *, after: str | None = None, limit: int = 100) -> list[TenantInfo]:
        place, size = limits.tenant_cursor(after), limits.page_size(limit)
        return [_tenant_info(counts) for counts in self.scan_tenants(place, size, self._now())]

    @operation
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


def _metadata(record: APITokenRecord, used_since: int | None) -> APITokenMetadata:
    last_used = record.last_used
    if used_since is not None and (last_used is None or last_used < used_since):
        last_used = used_since
    return APITokenMetadata(
        record.hash,
        record.prefix,
        record.tenant_hash,
        record.description,
        record.scopes,
        limits.moment(record.created_at),
        None if last_used is None else limits.moment(last_used),
        None if record.expires_at is None else limits.moment(record.expires_at),
    )


def _tenant_info(counts: TenantCounts) -> TenantInfo:
    return TenantInfo(
        tenant_hash=counts.tenant.tenant_hash,
        created_at=limits.moment(counts.tenant.created_at),
        api_tokens=counts.api_tokens,
        oauth_tokens=counts.oauth_tokens,
        credentials=counts.credentials,
    )


def _renewed_expiry(old: APITokenRecord, now: int) -> int | None:
    if old.expires_at is None:
        return None
    return min(now + old.expires_at - old.created_at, limits.LAST_MOMENT)
