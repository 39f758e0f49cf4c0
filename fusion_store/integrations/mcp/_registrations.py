"""Clients that registered by themselves and that no user has consented to yet: so many, and no more.

They lie in numbered slots that are used again, since the store counts the versions of every place that was ever
written. One record says who has which slot until when; it is changed against the version that was read.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from mcp.server.auth.provider import RegistrationError

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import ConfigError, VersionConflict
from fusion_store._values import SYSTEM_TENANT, CredentialType, ServiceCredentials

MAX_UNUSED_CLIENTS: Final = 1000
"""As many as fit into the record that says who has which slot."""

_SLOTS: Final = "mcp.unused-clients"
_SLOT: Final = "mcp.unused-client:"


class Holder(NamedTuple):
    """Who has a slot; ``until`` in seconds since 1970."""

    key: str
    until: int
    slot: int


class Registrations:
    """Up to ``most`` texts by key, each for ``lifetime``."""

    def __init__(
        self, vault: AsyncTokenRepository, clock: Callable[[], datetime], lifetime: timedelta, most: int
    ) -> None:
        if not 1 <= most <= MAX_UNUSED_CLIENTS:
            raise ConfigError(f"max_unused_clients: must be from 1 to {MAX_UNUSED_CLIENTS}")
        self._vault = vault
        self._clock = clock
        self._lifetime = lifetime
        self._most = most

    async def find(self, key: str) -> str | None:
        """The text under a key."""
        _, holders = await self._holders()
        holder = next((holder for holder in holders if holder.key == key), None)
        record = None if holder is None else await self._vault.get_credentials(*_place(holder))
        return record.data["text"] if record is not None and record.data["key"] == key else None

    async def put(self, key: str, text: str) -> None:
        """Keep a text, in place of a standing one; ``RegistrationError`` while there is no room."""
        expires_at = self._clock() + self._lifetime
        until = int(expires_at.timestamp())

        def take(holders: list[Holder]) -> list[Holder]:
            others = [holder for holder in holders if holder.key != key]
            taken = {holder.slot for holder in others}
            free = next((slot for slot in range(self._most) if slot not in taken), None)
            if free is None:
                raise RegistrationError("invalid_client_metadata", "Too many clients have registered lately")
            return [*others, Holder(key, until, free)]

        holder = (await self._change(take))[-1]
        tenant_hash, service, kind = _place(holder)
        kept = ServiceCredentials(kind, {"key": key, "text": text}, expires_at)
        await self._vault.store_credentials(tenant_hash, service, kept)

    async def discard(self, key: str) -> None:
        """Make room where a text stands; nothing where none does."""
        _, holders = await self._holders()
        for holder in holders:
            if holder.key == key:
                # First, as the slot is somebody else's as soon as it is free.
                await self._vault.delete_credentials(*_place(holder))
                await self._change(lambda standing: [other for other in standing if other.key != key])

    async def _holders(self) -> tuple[int, list[Holder]]:
        """The version of the record, and those whose time hasn't come."""
        record = await self._vault.get_credentials(SYSTEM_TENANT, _SLOTS, CredentialType.CUSTOM)
        if record is None:
            return 0, []
        now = self._clock().timestamp()
        holders = [Holder(*entry) for entry in record.data["holders"]]
        return record.version, [holder for holder in holders if holder.until > now]

    async def _change(self, change: Callable[[list[Holder]], list[Holder]]) -> list[Holder]:
        """Write what ``change`` makes of the holders, and answer it; once more when another one was faster."""
        while True:
            version, holders = await self._holders()
            changed = change(holders)
            record = ServiceCredentials(CredentialType.CUSTOM, {"holders": [list(holder) for holder in changed]})
            try:
                await self._vault.store_credentials(SYSTEM_TENANT, _SLOTS, record, expected_version=version)
            except VersionConflict:
                continue
            return changed


def _place(holder: Holder) -> tuple[str, str, CredentialType]:
    return SYSTEM_TENANT, f"{_SLOT}{holder.slot}", CredentialType.CUSTOM
