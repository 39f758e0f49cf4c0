"""What a host keeps for a tenant for a while."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from fusion_store._errors import InvalidInput
from fusion_store._values import CredentialType, ServiceCredentials

if TYPE_CHECKING:
    from fusion_store._async import AsyncTokenRepository

_PREFIX: Final = "cache:"
_HASHED: Final = "cache:sha256:"
_LONGEST_PLAIN: Final = 200


class TenantCache:
    """Values of one tenant, by key, each until its time has come.

    They lie in the vault, as ``custom`` credentials of services called ``cache:KEY`` (a key that is too long for a
    service's name is hashed): sealed where the vault is, and gone with the tenant. A value is anything JSON, up to
    64 KiB. ``AuthManager`` itself never reads from here.
    """

    def __init__(self, repository: AsyncTokenRepository, tenant_hash: str, clock: Callable[[], datetime]) -> None:
        self._repository = repository
        self._tenant_hash = tenant_hash
        self._clock = clock

    async def get(self, key: str, default: Any = None) -> Any:
        """The value, or ``default`` when there is none or its time has come."""
        found = await self._find(key)
        return default if found is None else found.data["value"]

    async def has(self, key: str) -> bool:
        """Whether there is a value."""
        return await self._find(key) is not None

    async def set(self, key: str, value: Any, ttl: timedelta) -> None:
        """Keep a value for ``ttl``, which must be positive; a standing one is replaced."""
        if ttl <= timedelta():
            raise InvalidInput("ttl", "must be positive")
        credentials = ServiceCredentials(CredentialType.CUSTOM, {"value": value}, self._clock() + ttl)
        await self._repository.store_credentials(self._tenant_hash, _service(key), credentials)

    async def delete(self, key: str) -> bool:
        """Whether there was a value."""
        return await self._repository.delete_credentials(self._tenant_hash, _service(key), CredentialType.CUSTOM)

    async def clear(self) -> int:
        """Delete all; answers how many there were."""
        kept = await self._repository.list_credentials(self._tenant_hash, credential_type=CredentialType.CUSTOM)
        services = [service for service, _ in kept if service.startswith(_PREFIX)]
        for service in services:
            await self._repository.delete_credentials(self._tenant_hash, service, CredentialType.CUSTOM)
        return len(services)

    async def _find(self, key: str) -> ServiceCredentials | None:
        return await self._repository.get_credentials(self._tenant_hash, _service(key), CredentialType.CUSTOM)


def _service(key: str) -> str:
    if not isinstance(key, str) or not key:
        raise InvalidInput("key", "must be a string that isn't empty")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidInput("key", "must not hold surrogates") from None
    if size <= _LONGEST_PLAIN and not key.startswith("sha256:"):
        return _PREFIX + key
    return _HASHED + sha256(key.encode()).hexdigest()
