"""What users have granted: one record for each grant, and the token strings that lead to it.

A grant is a family of tokens: the access token and the refresh token that are live, and all that were spent. Its
record lies under the user's tenant, so that it goes with the tenant, and is found by the tenant and family that each
token string names; the secret part of a string is kept as a hash. Changes are made against the version that was
read, so that of two that race one fails.
"""

from __future__ import annotations

import logging
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from secrets import token_bytes
from typing import Final, NamedTuple

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import FusionStoreError, OutcomeUnknown, TenantNotFound, TokenNotFound, VersionConflict
from fusion_store._values import APITokenMetadata, CredentialType, IssuedToken, ServiceCredentials

_PREFIX: Final = "mcp.grant:"
_DESCRIPTION: Final = "MCP grant "
_FAMILY_BYTES: Final = 16
_SPENT: Final = "a spent token was used again"

_is_description: Final = re.compile(rf"{_DESCRIPTION}([0-9a-f]{{{2 * _FAMILY_BYTES}}})").fullmatch
_is_refresh_token: Final = re.compile(r"[A-Za-z0-9_-]{107}").fullmatch
_is_code: Final = re.compile(r"([A-Za-z0-9_-]{43})([A-Za-z0-9_-]{43})").fullmatch

_log = logging.getLogger("fusion_store.mcp")


class Name(NamedTuple):
    """Which grant."""

    tenant_hash: str
    family: str


@dataclass(frozen=True)
class Grant:
    """A grant as it stands; ``access`` and ``refresh`` are hashes, ``access_expires_at`` is in seconds since 1970."""

    name: Name
    client_id: str
    scopes: tuple[str, ...]
    resource: str | None
    access: str = ""
    access_expires_at: float = 0
    refresh: str = ""
    expires_at: datetime | None = None
    version: int = 0


class Tokens(NamedTuple):
    """Fresh tokens, shown this once."""

    access: IssuedToken
    refresh: str | None


class Ended(Exception):
    """The grant has ended: its refresh token was used before, or its access token was deleted."""


class Grants:
    """The grants of every tenant."""

    def __init__(
        self,
        vault: AsyncTokenRepository,
        clock: Callable[[], datetime],
        *,
        access_lifetime: timedelta,
        refresh_lifetime: timedelta,
    ) -> None:
        self._vault = vault
        self._clock = clock
        self._access_lifetime = access_lifetime
        self._refresh_lifetime = refresh_lifetime

    async def find(self, name: Name) -> Grant | None:
        """A grant that lives."""
        record = await self._vault.get_credentials(name.tenant_hash, _PREFIX + name.family, CredentialType.CUSTOM)
        if record is None:
            return None
        data = record.data
        return Grant(
            name=name,
            client_id=data["client_id"],
            scopes=tuple(data["scopes"]),
            resource=data["resource"],
            access=data["access"],
            access_expires_at=data["access_expires_at"],
            refresh=data["refresh"],
            expires_at=record.expires_at,
            version=record.version,
        )

    async def of_access_token(self, caller: APITokenMetadata) -> Grant | None:
        """The grant whose live access token this is."""
        name = grant_name(caller)
        grant = None if name is None else await self.find(name)
        return grant if grant is not None and grant.access == caller.hash else None

    async def of_refresh_token(self, token: str, client_id: str) -> Grant | None:
        """The grant whose live refresh token this is. A spent one of this client ends its grant."""
        parsed = _read_refresh_token(token)
        grant = None if parsed is None else await self.find(parsed[0])
        if parsed is None or grant is None or grant.client_id != client_id:
            return None
        if not compare_digest(grant.refresh, _hash(parsed[1])):
            await self._end_at_once(grant.name, _SPENT)
            return None
        return grant

    async def prepare(self, grant: Grant) -> Grant:
        """A grant without tokens, which ends where its code is used again before it begins.

        ``TenantNotFound`` where its tenant is gone.
        """
        return replace(grant, version=(await self._write(grant)).version)

    async def begin(self, grant: Grant, *, with_refresh: bool) -> Tokens:
        """The first tokens of a prepared grant. ``TenantNotFound``; ``VersionConflict`` where it has ended already."""
        access = await self._issue(grant, grant.scopes)
        return await self._store(grant, access, with_refresh=with_refresh)

    async def renew(self, grant: Grant, scopes: tuple[str, ...]) -> Tokens:
        """The next tokens; the old ones are dead.

        ``Ended`` when another caller was faster with the same token, or somebody deleted the access token before its
        time: who does that means the client.
        """
        is_due = self._clock().timestamp() >= grant.access_expires_at
        if not is_due and await self._vault.get_api_token(grant.access) is None:
            await self._end_at_once(grant.name, "an access token was deleted")
            raise Ended
        access = await self._issue(grant, scopes)
        try:
            tokens = await self._store(grant, access, with_refresh=True)
        except VersionConflict:
            # The access token stays until it expires: nobody is shown it, and as the tenant's last it mustn't go.
            await self._end_at_once(grant.name, _SPENT)
            raise Ended from None
        try:
            # Never the tenant's last: the new one was issued later, so neither a purge nor ``end`` takes it away.
            await self._vault.delete_api_token(grant.access)
        except FusionStoreError as error:
            # Not to be raised: the client would never learn its new tokens.
            _log.warning("a spent access token lives until it expires: %s", type(error).__name__)
        return tokens

    async def end(self, name: Name, client_id: str | None = None) -> None:
        """End a grant (of that client, where one is named): all its tokens are dead."""
        while (grant := await self.find(name)) is not None and client_id in (None, grant.client_id):
            ended = ServiceCredentials(CredentialType.CUSTOM, {}, self._clock())
            place = name.tenant_hash, _PREFIX + name.family
            # The token goes first: as long as it may live the grant stands, and can be ended again.
            with suppress(TokenNotFound):
                # With its last token a tenant would go: in this one's place comes one that nobody is shown.
                await self._vault.rotate_api_token(grant.access)
            try:
                await self._vault.store_credentials(*place, ended, expected_version=grant.version)
            except (TenantNotFound, VersionConflict):
                continue
            await self._vault.delete_credentials(*place, CredentialType.CUSTOM)

    async def _end_at_once(self, name: Name, why: str) -> None:
        _log.warning("%s: the grant %s of tenant %s ends", why, name.family[:8], name.tenant_hash[:16])
        await self.end(name)

    async def _issue(self, grant: Grant, scopes: tuple[str, ...]) -> IssuedToken:
        return await self._vault.add_api_token(
            _DESCRIPTION + grant.name.family,
            tenant_hash=grant.name.tenant_hash,
            scopes=scopes,
            expires_at=self._clock() + self._access_lifetime,
        )

    async def _store(self, grant: Grant, access: IssuedToken, *, with_refresh: bool) -> Tokens:
        secret = token_bytes(32) if with_refresh else b""
        expires_at = access.metadata.expires_at
        assert expires_at is not None
        next_grant = replace(
            grant,
            access=access.hash,
            access_expires_at=expires_at.timestamp(),
            refresh=_hash(secret) if secret else "",
            expires_at=self._clock() + self._refresh_lifetime if secret else expires_at,
        )
        try:
            await self._write(next_grant)
        except OutcomeUnknown:
            standing = await self.find(grant.name)
            if standing is None or standing.access != access.hash:
                raise
        return Tokens(access, _refresh_token(grant.name, secret) if secret else None)

    async def _write(self, grant: Grant) -> ServiceCredentials:
        data = {
            "client_id": grant.client_id,
            "scopes": list(grant.scopes),
            "resource": grant.resource,
            "access": grant.access,
            "access_expires_at": grant.access_expires_at,
            "refresh": grant.refresh,
        }
        return await self._vault.store_credentials(
            grant.name.tenant_hash,
            _PREFIX + grant.name.family,
            ServiceCredentials(CredentialType.CUSTOM, data, grant.expires_at),
            expected_version=grant.version,
        )


def grant_name(caller: APITokenMetadata) -> Name | None:
    """The grant that an API token was issued under; None where it is no access token of a client."""
    found = _is_description(caller.description)
    return Name(caller.tenant_hash, found[1]) if found else None


def code_string(tenant_hash: str, code: str) -> str:
    """The authorization code that a client is sent: the vault's, with the tenant before it."""
    return _encode(bytes.fromhex(tenant_hash)) + code


def read_code(text: str) -> tuple[Name, str] | None:
    """The grant that a code leads to, and the vault's code; None for what is no code."""
    found = _is_code(text)
    if found is None:
        return None
    family = sha256(b"grant of " + found[2].encode()).hexdigest()[: 2 * _FAMILY_BYTES]
    return Name(_decode(found[1]).hex(), family), found[2]


def _refresh_token(name: Name, secret: bytes) -> str:
    return _encode(bytes.fromhex(name.tenant_hash) + bytes.fromhex(name.family) + secret)


def _read_refresh_token(text: str) -> tuple[Name, bytes] | None:
    if not _is_refresh_token(text):
        return None
    content = _decode(text)
    tenant, family, secret = content[:32], content[32 : 32 + _FAMILY_BYTES], content[32 + _FAMILY_BYTES :]
    return Name(tenant.hex(), family.hex()), secret


def _hash(secret: bytes) -> str:
    return sha256(secret).hexdigest()


def _encode(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
