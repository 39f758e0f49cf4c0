"""The same for hosts without an event loop: threads that call and wait."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from fusion_store._errors import ForkedHandle, StoreClosed
from fusion_store.auth._cache import TenantCache
from fusion_store.auth._manager import AuthManager, Disconnected, Tenant

if TYPE_CHECKING:
    from fusion_store._interface import TokenRepository
    from fusion_store._values import OAuthTokenData
    from fusion_store.auth._config import ServiceConfig
    from fusion_store.auth._strategy import Secret, ShowPrompt

T = TypeVar("T")


class BlockingAuthManager:
    """An ``AuthManager`` in a thread of its own, for any number of calling threads; takes its arguments.

    Use it in a ``with`` block, or call ``close``.
    """

    def __init__(self, repository: TokenRepository, **options: Any) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fusion-store-auth", daemon=True)
        self._thread.start()
        try:
            self.manager = self.run(_make(repository, options))
        except BaseException:
            self._stop()
            raise

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the manager's loop and wait for its answer.

        ``StoreClosed`` when the manager is closed before it ends, ``ForkedHandle`` in a forked child.
        """
        if os.getpid() != self._process:
            work.close()
            raise ForkedHandle("made before a fork: make the manager anew in this process")
        with self._lock:
            if self._is_closed:
                work.close()
                raise StoreClosed
            answer = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return answer.result()
        except CancelledError:
            raise StoreClosed from None

    def tenant(self, api_token: str) -> BlockingTenant:
        """As ``AuthManager.tenant``."""
        return BlockingTenant(self, self.run(self.manager.tenant(api_token)))

    def tenant_of(self, tenant_hash: str) -> BlockingTenant:
        """As ``AuthManager.tenant_of``."""
        return BlockingTenant(self, self.manager.tenant_of(tenant_hash))

    def close(self) -> None:
        """As ``AuthManager.aclose``; other calls under way end with ``StoreClosed``. Again: nothing."""
        with self._lock:
            if self._is_closed or os.getpid() != self._process:
                return
            self._is_closed = True
        asyncio.run_coroutine_threadsafe(_close(self.manager), self._loop).result()
        self._stop()

    def _stop(self) -> None:
        self._is_closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


async def _close(manager: AuthManager) -> None:
    await manager.aclose()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)


async def _make(repository: TokenRepository, options: dict[str, Any]) -> AuthManager:
    return AuthManager(repository, **options)


class BlockingTenant:
    """A ``Tenant`` whose calls wait."""

    __slots__ = ("_manager", "_tenant", "cache")

    def __init__(self, manager: BlockingAuthManager, tenant: Tenant) -> None:
        self._manager = manager
        self._tenant = tenant
        self.cache = BlockingTenantCache(manager, tenant.cache)

    @property
    def tenant_hash(self) -> str:
        """Whose handle this is."""
        return self._tenant.tenant_hash

    def __repr__(self) -> str:
        return f"Blocking{self._tenant!r}"

    def get_token(self, service: str, config: ServiceConfig | None = None) -> OAuthTokenData:
        """As ``Tenant.get_token``."""
        return self._manager.run(self._tenant.get_token(service, config))

    def invalidate_token(self, service: str, seen_version: int, config: ServiceConfig | None = None) -> OAuthTokenData:
        """As ``Tenant.invalidate_token``."""
        return self._manager.run(self._tenant.invalidate_token(service, seen_version, config))

    def apply_auth(self, request: Any, service: str, config: ServiceConfig | None = None) -> Any:
        """As ``Tenant.apply_auth``."""
        return self._manager.run(self._tenant.apply_auth(request, service, config))

    def get_secret(self, service: str, config: ServiceConfig | None = None) -> Secret:
        """As ``Tenant.get_secret``."""
        return self._manager.run(self._tenant.get_secret(service, config))

    def apply_secret(self, request: Any, service: str, secret: Secret, config: ServiceConfig | None = None) -> Any:
        """As ``Tenant.apply_secret``."""
        return self._tenant.apply_secret(request, service, secret, config)

    def authenticate(
        self, service: str, config: ServiceConfig | None = None, *, show: ShowPrompt | None = None
    ) -> OAuthTokenData:
        """As ``Tenant.authenticate``."""
        return self._manager.run(self._tenant.authenticate(service, config, show=show))

    def disconnect(self, service: str, config: ServiceConfig | None = None) -> Disconnected:
        """As ``Tenant.disconnect``."""
        return self._manager.run(self._tenant.disconnect(service, config))


class BlockingTenantCache:
    """A ``TenantCache`` whose calls wait."""

    __slots__ = ("_cache", "_manager")

    def __init__(self, manager: BlockingAuthManager, cache: TenantCache) -> None:
        self._manager = manager
        self._cache = cache

    def get(self, key: str, default: Any = None) -> Any:
        """As ``TenantCache.get``."""
        return self._manager.run(self._cache.get(key, default))

    def has(self, key: str) -> bool:
        """As ``TenantCache.has``."""
        return self._manager.run(self._cache.has(key))

    def set(self, key: str, value: Any, ttl: timedelta) -> None:
        """As ``TenantCache.set``."""
        self._manager.run(self._cache.set(key, value, ttl))

    def delete(self, key: str) -> bool:
        """As ``TenantCache.delete``."""
        return self._manager.run(self._cache.delete(key))

    def clear(self) -> int:
        """As ``TenantCache.clear``."""
        return self._manager.run(self._cache.clear())
