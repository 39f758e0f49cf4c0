"""How many requests a tenant and an address may make."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fusion_store._errors import ConfigError, Unavailable
from fusion_store.http._addresses import TrustedProxies

if TYPE_CHECKING:
    from limits import RateLimitItem


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """How many requests may be made, as ``"600/minute"`` or ``"10 per 5 seconds"``, or several such with semicolons
    between them, which all hold; needs ``fusion-store[http]``.

    ``per_address`` counts every request that needs credentials, whatever it presents, before the store is asked;
    ``per_tenant`` those with a live token. A window slides. ``storage`` is a URL of the library ``limits``
    (``memory://``, ``redis://…``, ``memcached://…``): several workers share one, and ``memory://`` counts in each
    process by itself.

    A client's address is its peer's; a proxy in ``trusted_proxies`` (addresses, networks, ``unix`` for a socket
    file) is believed for what it adds to ``X-Forwarded-For``. IPv6 clients count by their /64.
    """

    per_tenant: str | None = None
    per_address: str | None = None
    storage: str = field(default="memory://", repr=False)
    trusted_proxies: Sequence[str] = ()


class Limiter:
    """A ``RateLimit`` at work. What can't be used as it stands is ``ConfigError``.

    Where ``is_afar`` its calls wait for the network.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._proxies = TrustedProxies(limit.trusted_proxies)
        try:
            from limits.errors import StorageError
            from limits.storage import MemoryStorage, Storage, storage_from_string
            from limits.strategies import SlidingWindowCounterRateLimiter
        except ImportError:
            raise ConfigError("rate limits need fusion-store[http]") from None
        try:
            storage = storage_from_string(limit.storage, wrap_exceptions=True)
            if not isinstance(storage, Storage):
                raise TypeError  # it is asyncio's, as with async+redis://
            self._limiter = SlidingWindowCounterRateLimiter(storage)
        except Exception as error:  # each kind of storage raises its own, with the URL and its password in the text
            raise ConfigError(f"storage: can't be used for rate limits ({type(error).__name__})") from None
        self._storage_error = StorageError
        self.is_afar = not isinstance(storage, MemoryStorage)
        self._per_tenant = _parsed("per_tenant", limit.per_tenant)
        self._per_address = _parsed("per_address", limit.per_address)

    def address(self, peer: str | None, forwarded: Sequence[bytes]) -> int:
        """Count a request of a client; 0, or after how many seconds to come again."""
        return self._hit(self._per_address, "address", self._proxies.client(peer, forwarded))

    def tenant(self, tenant_hash: str) -> int:
        """Count a request of a tenant; 0, or after how many seconds to come again."""
        return self._hit(self._per_tenant, "tenant", tenant_hash)

    def _hit(self, items: Sequence[RateLimitItem], kind: str, name: str) -> int:
        wait = 0
        try:
            for item in items:
                if not self._limiter.hit(item, "fusion-store", kind, name):
                    reset = self._limiter.get_window_stats(item, "fusion-store", kind, name).reset_time
                    wait = max(wait, 1, math.ceil(reset - time.time()))
        except self._storage_error as error:
            raise Unavailable(f"the rate limits' storage: {type(error.storage_error).__name__}") from None
        return wait


def _parsed(name: str, limit: str | None) -> Sequence[RateLimitItem]:
    from limits import parse_many

    with suppress(ValueError):
        items = [] if limit is None else parse_many(limit)
        if all(item.amount for item in items):
            return items
    raise ConfigError(f"{name}: must be a rate such as '600/minute'")
