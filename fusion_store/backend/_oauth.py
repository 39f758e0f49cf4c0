"""The typed operations on OAuth tokens, refresh claims and auth codes."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from fusion_store._errors import InvalidInput
from fusion_store._records import AuthCodeRecord, Kind, Place, SecretRecord
from fusion_store._values import AuthCode, OAuthTokenData, RefreshClaim
from fusion_store.backend import _limits as limits
from fusion_store.backend import _payloads as payloads
from fusion_store.backend import _rules as rules
from fusion_store.backend._operations import operation
from fusion_store.backend._secrets import SecretOperations, place_of, writable_place
from fusion_store.backend._tokens import hash_token, known_hash, new_auth_code


class OAuthOperations(SecretOperations):
    """OAuth tokens and what leads to them."""

    @operation
    def store_oauth_token(
        self,
        tenant_hash: str,
        service: str,
        token: OAuthTokenData,
        *,
        expected_version: int | None = None,
    ) -> OAuthTokenData:
        place = writable_place(tenant_hash, Kind.OAUTH, service)
        expected = limits.version(expected_version)
        checked, expires_at, payload = _pack(place, token)
        now = self._now()
        change = rules.store(place, payload, expires_at, now, expected)
        return _stored(checked, self._put_secret(place, change, self.audit_entry("oauth.store", now=now)))

    def get_oauth_token(self, tenant_hash: str, service: str) -> OAuthTokenData | None:
        with self.guard:
            place = place_of(tenant_hash, Kind.OAUTH, service)
            record = None if place is None else self.read_secret(place)
        return None if record is None else payloads.read_oauth_token(record)

    @operation
    def delete_oauth_token(self, tenant_hash: str, service: str, *, expected_version: int | None = None) -> bool:
        place = place_of(tenant_hash, Kind.OAUTH, service)
        expected = limits.version(expected_version)
        now = self._now()
        if place is None:
            return False
        audit = self.audit_entry("oauth.delete", now=now)
        return self.change_secret(place, rules.delete(now, expected), self.mode, audit=audit) is not None

    @operation
    def list_oauth_tokens(self, tenant_hash: str) -> dict[str, OAuthTokenData]:
        return {
            record.place.service: payloads.read_oauth_token(record)
            for record in self._list_secrets(tenant_hash, Kind.OAUTH)
        }

    @operation
    def claim_refresh(
        self, tenant_hash: str, service: str, *, ttl: timedelta, owner: str | None = None
    ) -> RefreshClaim | None:
        place = writable_place(tenant_hash, Kind.OAUTH, service)
        holder = _default_owner() if owner is None else limits.owner(owner)
        now = self._now()
        deadline = limits.later(now, ttl, "ttl")
        audit = self.audit_entry("refresh.claim", now=now)
        state = self.change_secret(place, rules.claim(holder, now, deadline), self.mode, audit=audit)
        if state is None:
            return None
        return RefreshClaim(
            tenant_hash=place.tenant_hash,
            service=place.service,
            owner=holder,
            token_version=state.counter.version,
            fence=state.counter.fence,
            deadline=limits.moment(deadline),
        )

    @operation
    def commit_refresh(self, claim: RefreshClaim, token: OAuthTokenData) -> OAuthTokenData:
        place, fence = _claimed_place(claim)
        checked, expires_at, payload = _pack(place, token)
        now = self._now()
        change = rules.commit(place, payload, expires_at, now, fence)
        audit = self.audit_entry("refresh.commit", now=now, detail={"fence": fence})
        return _stored(checked, self._put_secret(place, change, audit))

    @operation
    def release_refresh(self, claim: RefreshClaim) -> None:
        place, fence = _claimed_place(claim)
        audit = self.audit_entry("refresh.release", detail={"fence": fence})
        self.change_secret(place, rules.release(fence), self.mode, audit=audit)

    @operation
    def create_auth_code(
        self,
        tenant_hash: str,
        service: str,
        *,
        ttl: timedelta,
        payload: Mapping[str, Any] | None = None,
    ) -> str:
        place = writable_place(tenant_hash, Kind.AUTH_CODE, service)
        now = self._now()
        expires_at = limits.later(now, ttl, "ttl")
        content = dict(payload) if isinstance(payload, Mapping) else payload
        body = limits.json_object({} if content is None else content, "payload", limits.MAX_CODE_PAYLOAD_BYTES)
        code = new_auth_code()
        hash = known_hash(code)
        packed = payloads.pack_json(place.binding(expires_at, hash), body)
        audit = self.audit_entry("auth_code.create", now=now)
        self.insert_auth_code(AuthCodeRecord(hash, place, packed, expires_at), self.mode, audit=audit)
        return code

    @operation
    def redeem_auth_code(self, code: str) -> AuthCode | None:
        hash = hash_token(code)
        if hash is None:
            return None
        audit = self.audit_entry("auth_code.redeem")
        record = self.take_auth_code(hash, audit=audit)
        if record is None or record.expires_at <= audit.recorded_at:
            return None
        # First: its checksum is what covers the expiry.
        payload = payloads.unpack_json(record)
        return AuthCode(
            tenant_hash=record.place.tenant_hash,
            service=record.place.service,
            expires_at=limits.moment(record.expires_at),
            payload=payload,
        )


def _claimed_place(claim: RefreshClaim) -> tuple[Place, int]:
    if not isinstance(claim, RefreshClaim):
        raise InvalidInput("claim", "must be a RefreshClaim")
    fence = limits.version(claim.fence, "claim.fence")
    if not fence:
        raise InvalidInput("claim.fence", "must be a whole number from 1")
    return writable_place(claim.tenant_hash, Kind.OAUTH, claim.service), fence


def _default_owner() -> str:
    owner = f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"
    return owner[-limits.MAX_OWNER_CHARS :]


def _pack(place: Place, token: OAuthTokenData) -> tuple[OAuthTokenData, int | None, bytes]:
    checked = limits.oauth_token(token)
    expires_at = limits.optional_micros(checked.expires_at, "expires_at")
    return checked, expires_at, payloads.pack_oauth(place.binding(expires_at), checked)


def _stored(checked: OAuthTokenData, record: SecretRecord) -> OAuthTokenData:
    return replace(
        checked,
        expires_at=limits.optional_moment(record.expires_at),
        created_at=limits.moment(record.created_at),
        updated_at=limits.moment(record.updated_at),
        version=record.version,
    )
