"""Registered clients (RFC 7591), kept under the system tenant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from mcp.server.auth.provider import RegistrationError
from mcp.shared.auth import OAuthClientInformationFull
from pydantic import AnyUrl

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import ConfigError, VersionConflict
from fusion_store._values import SYSTEM_TENANT, CredentialType, ServiceCredentials
from fusion_store.http._addresses import is_loopback

MAX_CLIENT_BYTES: Final = 16 * 1024
MAX_UNUSED_CLIENTS: Final = 1000
"""As many as fit into the one record that counts them."""

_PREFIX: Final = "mcp.client:"
_UNUSED: Final = "mcp.unused-clients"
_SWEEP: Final = 10
_SCRIPTS: Final = frozenset({"about", "blob", "data", "file", "javascript", "vbscript"})

Unused = list[tuple[str, float]]
"""Keys of clients that no user has consented to, and when they expire, in seconds since 1970."""


class Clients:
    """The clients that may ask for tokens.

    One that registers by itself is forgotten after ``unused_lifetime`` unless a user consents to it, and no more than
    ``max_unused`` such ones are kept at a time. A used one is forgotten ``lifetime`` after its last token, at the
    earliest after half of that. One that the host adds stays.
    """

    def __init__(
        self,
        vault: AsyncTokenRepository,
        clock: Callable[[], datetime],
        *,
        unused_lifetime: timedelta,
        lifetime: timedelta,
        max_unused: int,
    ) -> None:
        if not 1 <= max_unused <= MAX_UNUSED_CLIENTS:
            raise ConfigError(f"max_unused_clients: must be from 1 to {MAX_UNUSED_CLIENTS}")
        self._vault = vault
        self._clock = clock
        self._unused_lifetime = unused_lifetime
        self._lifetime = lifetime
        self._max_unused = max_unused

    async def find(self, client_id: str) -> OAuthClientInformationFull | None:
        """A client by its id."""
        record = await self._read(_key(client_id))
        return None if record is None else OAuthClientInformationFull.model_validate_json(record.data["client"])

    async def register(self, client: OAuthClientInformationFull) -> None:
        """Keep a client that registers by itself; ``RegistrationError`` where it can't be."""
        _refuse_unsafe(client)
        key, expires_at = _key(client.client_id), self._clock() + self._unused_lifetime
        for forgotten in await self._count_in(key, expires_at):
            if await self._read(forgotten) is None:
                await self._vault.delete_credentials(SYSTEM_TENANT, _PREFIX + forgotten, CredentialType.CUSTOM)
        await self._write(key, client, expires_at)

    async def add(self, client: OAuthClientInformationFull) -> None:
        """Keep a client that the host vouches for."""
        await self._write(_key(client.client_id), client, None)

    async def keep(self, client_id: str) -> None:
        """A user has consented to the client, or it has used what it got."""
        key = _key(client_id)
        record, now = await self._read(key), self._clock()
        if record is None or record.expires_at is None:
            return
        is_used = "used" in record.data
        if is_used and record.expires_at - now > self._lifetime / 2:
            return
        kept = ServiceCredentials(record.type, {**record.data, "used": True}, now + self._lifetime)
        try:
            await self._vault.store_credentials(SYSTEM_TENANT, _PREFIX + key, kept, expected_version=record.version)
        except VersionConflict:
            return  # somebody else has done the same
        if not is_used:
            await self._count_out(key)

    async def _read(self, key: str) -> ServiceCredentials | None:
        return await self._vault.get_credentials(SYSTEM_TENANT, _PREFIX + key, CredentialType.CUSTOM)

    async def _write(self, key: str, client: OAuthClientInformationFull, expires_at: datetime | None) -> None:
        data = {"client": client.model_dump_json(exclude_none=True)}
        credentials = ServiceCredentials(CredentialType.CUSTOM, data, expires_at)
        await self._vault.store_credentials(SYSTEM_TENANT, _PREFIX + key, credentials)

    async def _count_in(self, key: str, expires_at: datetime) -> list[str]:
        """Count a client among the unused ones; answers some that have expired and are counted no longer."""
        now = self._clock().timestamp()

        def change(unused: Unused) -> tuple[Unused, list[str]]:
            expired = [entry for entry in unused if entry[1] <= now][:_SWEEP]
            left = [entry for entry in unused if entry not in expired]
            if len(left) >= self._max_unused:
                raise RegistrationError("invalid_client_metadata", "Too many clients have registered lately")
            return [*left, (key, expires_at.timestamp())], [entry[0] for entry in expired]

        return await self._change_unused(change)

    async def _count_out(self, key: str) -> None:
        await self._change_unused(lambda unused: ([entry for entry in unused if entry[0] != key], []))

    async def _change_unused(self, change: Callable[[Unused], tuple[Unused, list[str]]]) -> list[str]:
        """Change the record of unused clients, once more when another one was faster."""
        while True:
            record = await self._vault.get_credentials(SYSTEM_TENANT, _UNUSED, CredentialType.CUSTOM)
            standing = [(key, expires) for key, expires in record.data["clients"]] if record else []
            changed, answer = change(standing)
            data = {"clients": [list(entry) for entry in changed]}
            try:
                await self._vault.store_credentials(
                    SYSTEM_TENANT,
                    _UNUSED,
                    ServiceCredentials(CredentialType.CUSTOM, data),
                    expected_version=record.version if record else 0,
                )
            except VersionConflict:
                continue
            return answer


def _key(client_id: str) -> str:
    """What a client's record is called by, whatever characters its id has."""
    return sha256(client_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _refuse_unsafe(client: OAuthClientInformationFull) -> None:
    if len(client.model_dump_json(exclude_none=True).encode()) > MAX_CLIENT_BYTES:
        raise RegistrationError("invalid_client_metadata", "The metadata is longer than 16 KiB")
    if not all(_is_safe(uri) for uri in client.redirect_uris or ()):
        raise RegistrationError("invalid_redirect_uri", "A redirect URI must be https, loopback, or an app's own")


def _is_safe(uri: AnyUrl) -> bool:
    """Whether a code may be sent there: not over the network in plain, and not into a script."""
    return is_loopback(uri.host) if uri.scheme == "http" else uri.scheme not in _SCRIPTS
