"""Registered clients (RFC 7591), kept under the system tenant."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from mcp.server.auth.provider import RegistrationError
from mcp.shared.auth import OAuthClientInformationFull
from pydantic import AnyUrl

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import VersionConflict
from fusion_store._values import SYSTEM_TENANT, CredentialType, ServiceCredentials
from fusion_store.http._addresses import is_loopback
from fusion_store.integrations.mcp._registrations import Registrations

MAX_CLIENT_BYTES: Final = 16 * 1024

_PREFIX: Final = "mcp.client:"
_SLACK: Final = timedelta(days=1)
_APPS: Final = frozenset({"claude", "cursor", "vscode", "vscode-insiders", "windsurf", "zed"})
"""Schemes of MCP clients that have no period in them, as RFC 8252 section 7.1 wants it."""

_is_scope: Final = re.compile(r"[!#-\[\]-~]+").fullmatch  # scope-token in RFC 6749 section 3.3


class Clients:
    """The clients that may ask for tokens.

    One that registers by itself is in ``registrations`` until a user consents to it. From then on it is forgotten
    ``lifetime`` after its last token, or up to a day later. One that the host adds stays.
    """

    def __init__(
        self,
        vault: AsyncTokenRepository,
        clock: Callable[[], datetime],
        registrations: Registrations,
        lifetime: timedelta,
    ) -> None:
        self._vault = vault
        self._clock = clock
        self._registrations = registrations
        self._lifetime = lifetime

    async def find(self, client_id: str) -> OAuthClientInformationFull | None:
        """A client by its id."""
        key = _key(client_id)
        record = await self._read(key)
        text = await self._registrations.find(key) if record is None else record.data["client"]
        return None if text is None else OAuthClientInformationFull.model_validate_json(text)

    async def register(self, client: OAuthClientInformationFull) -> None:
        """Keep a client that registers by itself; ``RegistrationError`` where it can't be."""
        text = _text(client)
        if len(text.encode()) > MAX_CLIENT_BYTES:
            raise RegistrationError("invalid_client_metadata", "The metadata is longer than 16 KiB")
        if not all(_is_scope(scope) for scope in (client.scope or "").split(" ") if scope):
            raise RegistrationError("invalid_client_metadata", "The scope is malformed")
        if not all(_is_safe(uri) for uri in client.redirect_uris or ()):
            raise RegistrationError("invalid_redirect_uri", "A redirect URI must be https, loopback, or an app's own")
        await self._registrations.put(_key(client.client_id), text)

    async def add(self, client: OAuthClientInformationFull) -> None:
        """Keep a client that the host vouches for."""
        await self._write(_key(client.client_id), _text(client), None)

    async def keep(self, client_id: str) -> None:
        """A user has consented to the client, or it has used what it got."""
        key, needed = _key(client_id), self._clock() + self._lifetime
        expires_at = needed + _SLACK
        record = await self._read(key)
        if record is None:
            text = await self._registrations.find(key)
            if text is not None:
                await self._write(key, text, expires_at, expected_version=0)
                await self._registrations.discard(key)
        elif record.expires_at is not None and record.expires_at < needed:
            await self._write(key, record.data["client"], expires_at, expected_version=record.version)

    async def _read(self, key: str) -> ServiceCredentials | None:
        return await self._vault.get_credentials(SYSTEM_TENANT, _PREFIX + key, CredentialType.CUSTOM)

    async def _write(
        self, key: str, text: str, expires_at: datetime | None, *, expected_version: int | None = None
    ) -> None:
        """Of those that write what they read, the first one does."""
        kept = ServiceCredentials(CredentialType.CUSTOM, {"client": text}, expires_at)
        with suppress(VersionConflict):
            await self._vault.store_credentials(SYSTEM_TENANT, _PREFIX + key, kept, expected_version=expected_version)


def _key(client_id: str) -> str:
    """What a client's record is called by, whatever characters its id has."""
    return sha256(client_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _text(client: OAuthClientInformationFull) -> str:
    return client.model_dump_json(exclude_none=True)


def _is_safe(uri: AnyUrl) -> bool:
    """Whether a code may be sent there: https, loopback, or an app's own scheme (RFC 8252 section 7).

    No fragment (RFC 6749 section 3.1.2), and no user information, which makes another host look like the one meant.
    """
    if (uri.fragment, uri.username, uri.password) != (None, None, None):
        return False
    if uri.scheme == "http":
        return is_loopback(uri.host)
    return uri.scheme == "https" or "." in uri.scheme or uri.scheme in _APPS
