"""Upstream tokens for the tenants of a host: found, refreshed, applied, revoked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import AuthError, ConfigError, NeedsReauth, TenantNotFound
from fusion_store._interface import TokenRepository
from fusion_store._values import CredentialType, OAuthTokenData, ServiceCredentials, Value
from fusion_store.auth._cache import TenantCache
from fusion_store.auth._config import ServiceConfig
from fusion_store.auth._renewal import Renewal, Target, Timing
from fusion_store.auth._requests import add_to_request
from fusion_store.auth._sign_in import SignIns
from fusion_store.auth._strategy import AuthContext, Secret, ShowPrompt, Strategy

if TYPE_CHECKING:
    from fusion_store.auth._http import HTTP
    from fusion_store.layers import Observer

logger: Final = logging.getLogger("fusion_store.auth")


class Disconnected(Value, frozen=True):
    """What became of a connection; true when there was one."""

    deleted: bool
    """Whether the vault held a secret for the service."""
    revoked: bool
    """Whether the provider was told, and agreed."""

    def __bool__(self) -> bool:
        return self.deleted


class AuthManager:
    """Hands out handles that are bound to one tenant each.

    - ``repository``: sync or async; it is not closed with the manager.
    - ``strategies``: by type; by default the built-in ones, and those of installed packages, which are looked through
      when a type is first asked for that isn't built in. A host whose loop mustn't wait for that once passes
      ``find_strategies()``.
    - ``http``: what speaks to providers; by default one of its own, closed with the manager.
    - ``services``: configurations by service, for calls that are given none.
    - ``observers``: told of every request for a new token.
    - ``clock`` answers the present as an aware datetime, ``sleep`` waits for seconds.

    It belongs to one event loop. Use it with ``async with``, or await ``aclose``; hosts without a loop of their own use
    ``BlockingAuthManager``.
    """

    def __init__(
        self,
        repository: TokenRepository | AsyncTokenRepository,
        strategies: Mapping[str, Strategy] | None = None,
        *,
        http: HTTP | None = None,
        services: Mapping[str, ServiceConfig] | None = None,
        timing: Timing | None = None,
        observers: Sequence[Observer] = (),
        clock: Callable[[], datetime] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        from fusion_store.auth._http import HTTP
        from fusion_store.auth._strategies import built_in

        if not isinstance(repository, AsyncTokenRepository):
            repository = AsyncTokenRepository(repository)
        self.repository: AsyncTokenRepository = repository
        self.strategies = dict(built_in() if strategies is None else strategies)
        self._looks_for_more = strategies is None
        self.services = dict(services or {})
        self.clock = clock or _now
        self.sleep = sleep
        self.http = http or HTTP(clock=self.clock)
        self._owns_http = http is None
        self.renewal = Renewal(self.repository, timing or Timing(), self.clock, sleep, observers)
        self.sign_ins = SignIns()

    async def tenant(self, api_token: str) -> Tenant:
        """The handle of an API token's tenant; ``AuthError`` when the token isn't live."""
        metadata = await self.repository.validate_api_token(api_token)
        if metadata is None:
            raise AuthError("the API token isn't live")
        return self.tenant_of(metadata.tenant_hash)

    def tenant_of(self, tenant_hash: str) -> Tenant:
        """The handle of a tenant whose API token somebody else has validated, a middleware say."""
        return Tenant(self, tenant_hash)

    def strategy(self, config: ServiceConfig) -> Strategy:
        """The strategy of a configuration; ``ConfigError`` naming the known ones when there is none."""
        from fusion_store.auth._strategies import find_strategies

        if config.type not in self.strategies and self._looks_for_more:
            self.strategies = find_strategies() | self.strategies
            self._looks_for_more = False
        strategy = self.strategies.get(config.type)
        if strategy is None:
            raise ConfigError(f"unknown type {config.type!r}; known: {', '.join(sorted(self.strategies))}")
        return strategy

    async def aclose(self) -> None:
        """Wait for refreshes under way, then close what the manager opened."""
        await self.renewal.settle()
        if self._owns_http:
            await self.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class Tenant:
    """One tenant's upstream tokens. It can't reach another tenant's, and can be kept or thrown away.

    Where ``config`` is left out, the one is taken that this handle was given last for the service, else the manager's.
    """

    __slots__ = ("_configs", "_manager", "_tenant_hash", "cache")

    def __init__(self, manager: AuthManager, tenant_hash: str) -> None:
        self._manager = manager
        self._tenant_hash = tenant_hash
        self._configs: dict[str, ServiceConfig] = {}
        self.cache = TenantCache(manager.repository, tenant_hash, manager.clock)

    @property
    def tenant_hash(self) -> str:
        """Whose handle this is."""
        return self._tenant_hash

    def __repr__(self) -> str:
        return f"Tenant({self._tenant_hash[:16]!r})"

    async def get_token(self, service: str, config: ServiceConfig | None = None) -> OAuthTokenData:
        """A token with life left: the stored one, or a new one when that is about to expire.

        However many callers, threads and processes ask, the provider is asked once. When it fails, the old token is
        answered while it lives. Raises ``NeedsReauth`` when the user has to consent, ``RefreshFailed`` when the
        provider failed (``retryable``: try later), ``RefreshTimeout`` when another caller's refresh takes too long.
        """
        return await self._manager.renewal.live_token(self._token_target(service, config))

    async def invalidate_token(
        self, service: str, seen_version: int, config: ServiceConfig | None = None
    ) -> OAuthTokenData:
        """Another token, the service having refused (401) the one of version ``seen_version``.

        Refreshes it if it still is the stored one; else somebody has, and theirs is answered. Raises what
        ``get_token`` does, and ``RefusedAgain``, a ``RefreshFailed``, for a token that took a refused one's place less
        than a minute ago: the service refuses something else than the token's age.
        """
        return await self._manager.renewal.live_token(self._token_target(service, config), refused_version=seen_version)

    async def apply_auth(self, request: Any, service: str, config: ServiceConfig | None = None) -> Any:
        """Put the secret where the service wants it: header, query, cookie or basic; answers the request.

        ``request`` is one of httpx, httpx2 or Requests, or a dict of arguments for one. Raises what
        ``get_secret`` does.
        """
        return self.apply_secret(request, service, await self.get_secret(service, config), config)

    async def get_secret(self, service: str, config: ServiceConfig | None = None) -> Secret:
        """What a request to the service needs: a token as ``get_token`` answers it, or the tenant's credentials.

        Raises what ``get_token`` does; ``NeedsReauth`` too where credentials are needed and none are stored.
        """
        target = self._target(service, config)
        kind = target.strategy.credential_type
        if kind is None:
            return await self._manager.renewal.live_token(target)
        credentials = await self._credentials(service, kind)
        if credentials is None:
            raise NeedsReauth(f"{service}: no {kind} credentials are stored for this tenant")
        return credentials

    def apply_secret(self, request: Any, service: str, secret: Secret, config: ServiceConfig | None = None) -> Any:
        """``apply_auth`` with a secret that the caller has already, in place of one applied before.

        ``AuthError`` for one that the service can't be sent.
        """
        target = self._target(service, config)
        try:
            auth = target.strategy.apply(target.config, secret)
        except AuthError as error:
            if type(error) is AuthError:
                raise AuthError(f"{service}: {error}") from None
            raise
        add_to_request(request, auth)
        return request

    async def authenticate(
        self, service: str, config: ServiceConfig | None = None, *, show: ShowPrompt | None = None
    ) -> OAuthTokenData:
        """Sign in at the service and store the token, in place of a standing one.

        ``show`` is given what the user has to see or open. Callers that ask at the same time share one sign-in, and
        each is shown its prompt.
        """
        target = self._token_target(service, config)
        return await self._manager.sign_ins.run(target, show, self._store)

    async def _store(self, target: Target, token: OAuthTokenData) -> OAuthTokenData:
        return await self._manager.repository.store_oauth_token(target.tenant_hash, target.service, token)

    async def disconnect(self, service: str, config: ServiceConfig | None = None) -> Disconnected:
        """Revoke the token at the provider where that can be done (RFC 7009), then delete it here.

        It is deleted even when revoking fails, which is logged.
        """
        target = self._target(service, config)
        repository, kind = self._manager.repository, target.strategy.credential_type
        if kind is not None:
            return Disconnected(await repository.delete_credentials(self._tenant_hash, service, kind), revoked=False)
        token = await repository.get_oauth_token(self._tenant_hash, service)
        revoked = token is not None and await self._revoke(target, token)
        return Disconnected(await repository.delete_oauth_token(self._tenant_hash, service), revoked)

    async def _revoke(self, target: Target, token: OAuthTokenData) -> bool:
        try:
            return await target.strategy.revoke(target.config, token, target.context)
        except Exception as error:
            tenant, reason = self._tenant_hash[:16], type(error).__name__
            logger.warning("%s: revoking a token of tenant %s failed: %s", target.service, tenant, reason)
            return False

    def _token_target(self, service: str, config: ServiceConfig | None) -> Target:
        target = self._target(service, config)
        if target.strategy.credential_type is not None:
            raise ConfigError(f"{service}: {target.config.type} has credentials, no token: use apply_auth")
        return target

    def _target(self, service: str, config: ServiceConfig | None) -> Target:
        manager = self._manager
        found = config or self._configs.get(service) or manager.services.get(service)
        if found is None:
            raise ConfigError(f"no configuration for service {service!r}")
        self._configs[service] = found
        context = AuthContext(
            service=service,
            http=manager.http,
            clock=manager.clock,
            sleep=manager.sleep,
            credentials=lambda kind: self._credentials(service, kind),
        )
        return Target(self._tenant_hash, service, found, manager.strategy(found), context)

    async def _credentials(self, service: str, kind: CredentialType) -> ServiceCredentials | None:
        try:
            return await self._manager.repository.get_credentials(self._tenant_hash, service, kind)
        except TenantNotFound:
            return None


def _now() -> datetime:
    return datetime.now(UTC)
