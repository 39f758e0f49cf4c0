"""Getting a live token: once per token, whoever asks, in whatever process.

The right to refresh is a claim in the store. Nothing of the store is held while the provider is asked. A new token is
durable before anyone sees it, since with it the old refresh token may have died.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from fusion_store._errors import (
    AuthError,
    ClaimLost,
    FusionStoreError,
    NeedsReauth,
    OutcomeUnknown,
    RefreshFailed,
    RefreshTimeout,
    StoreError,
    TenantNotFound,
)
from fusion_store._values import OAuthTokenData, RefreshClaim
from fusion_store.auth._strategy import AuthContext, GrantRejected, Strategy

if TYPE_CHECKING:
    from fusion_store._async import AsyncTokenRepository
    from fusion_store.auth._config import ServiceConfig

logger: Final = logging.getLogger("fusion_store.auth")

REJECTED: Final = "fusion_store.grant_rejected"
"""In a token's metadata: the provider refused to refresh it, so nobody tries again."""

_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 1.0
_FIRST_BACKOFF: Final = timedelta(seconds=1)
_LONGEST_BACKOFF: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Timing:
    """How long things take and last.

    - ``expiry_buffer``: a token is renewed when it has no more than this left, or a quarter of its lifetime.
    - ``refresh_timeout``: how long a caller waits for another one's refresh.
    - ``lease``: how long a claim keeps others out; longer than a refresh takes.
    """

    expiry_buffer: timedelta = timedelta(minutes=5)
    refresh_timeout: timedelta = timedelta(seconds=30)
    lease: timedelta = timedelta(seconds=60)


class Target(NamedTuple):
    """Whose token for what, and how it is got."""

    tenant_hash: str
    service: str
    config: ServiceConfig
    strategy: Strategy
    context: AuthContext

    @property
    def key(self) -> tuple[str, str]:
        return self.tenant_hash, self.service


class _Backoff(NamedTuple):
    until: datetime
    length: timedelta


class Renewal:
    """Renews tokens of any tenant; one for each ``AuthManager``."""

    def __init__(
        self,
        repository: AsyncTokenRepository,
        timing: Timing,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._repository = repository
        self._timing = timing
        self._clock = clock
        self._sleep = sleep
        self._running: dict[tuple[str, str, int | None], asyncio.Task[OAuthTokenData]] = {}
        self._unstored: dict[tuple[str, str], tuple[RefreshClaim, OAuthTokenData]] = {}
        self._backoffs: dict[tuple[str, str], _Backoff] = {}

    async def live_token(self, target: Target, refused_version: int | None = None) -> OAuthTokenData:
        """A token with enough life left, of another version than ``refused_version``.

        Callers in one event loop share one renewal; one that is cancelled doesn't end it for the others.
        """
        token = await self._read(target)
        if token is not None and not self._is_due(token, refused_version) and target.key not in self._unstored:
            return token
        key = (*target.key, refused_version)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._renew(target, refused_version))
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: tuple[str, str, int | None], task: asyncio.Task[OAuthTokenData]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            # Looked at, so that a failure whose callers were all cancelled isn't reported as never retrieved.
            task.exception()

    async def settle(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _renew(self, target: Target, refused: int | None) -> OAuthTokenData:
        deadline = self._clock() + self._timing.refresh_timeout
        wait = _FIRST_WAIT_SECONDS
        while True:
            await self._store_what_is_left(target)
            token = await self._read(target)
            if token is not None and not self._is_due(token, refused):
                return token
            if not self._can_renew(target, token):
                return self._make_do(token, refused, NeedsReauth(f"{target.service}: the user has to consent"))
            backoff = self._backoffs.get(target.key)
            if backoff is not None and backoff.until > self._clock():
                left = (backoff.until - self._clock()).total_seconds()
                pause = RefreshFailed(
                    f"{target.service}: the last refresh failed a moment ago", retryable=True, retry_after=left
                )
                return self._make_do(token, refused, pause)
            claim = await self._claim(target)
            if claim is not None:
                return await self._renew_under(claim, target, refused)
            if self._clock() >= deadline:
                timeout = RefreshTimeout(f"{target.service}: another caller's refresh didn't end in time")
                return self._make_do(token, refused, timeout)
            await self._sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT_SECONDS)

    async def _renew_under(self, claim: RefreshClaim, target: Target, refused: int | None) -> OAuthTokenData:
        token = await self._read(target)
        if token is not None and not self._is_due(token, refused):
            await self._release(claim)
            return token
        try:
            new = await self._ask_provider(target, token)
        except GrantRejected as error:
            return await self._rejected(claim, target, token, refused, error)
        except AuthError as error:
            self._note_failure(target, error)
            await self._release(claim)
            return self._make_do(token, refused, error)
        self._backoffs.pop(target.key, None)
        return await self._store(claim, target, new)

    async def _ask_provider(self, target: Target, token: OAuthTokenData | None) -> OAuthTokenData:
        if token is not None and self._can_refresh(target, token):
            try:
                return await target.strategy.refresh(target.config, token, target.context)
            except GrantRejected:
                if not target.strategy.unattended:
                    raise
        return await target.strategy.authenticate(target.config, target.context)

    async def _rejected(
        self,
        claim: RefreshClaim,
        target: Target,
        token: OAuthTokenData | None,
        refused: int | None,
        error: GrantRejected,
    ) -> OAuthTokenData:
        """The provider refuses the grant: note it, unless somebody stored another token meanwhile."""
        logger.warning("%s: the provider refused to refresh the token of tenant %s", *_named(target))
        latest = await self._read(target)
        if latest is not None and (token is None or latest.version != token.version):
            await self._release(claim)
            return latest
        lost = NeedsReauth(f"{target.service}: the provider refused the grant ({error}): the user has to consent again")
        if token is None:
            await self._release(claim)
            raise lost from None
        marked = await self._store(claim, target, replace(token, metadata={**token.metadata, REJECTED: "1"}))
        self._make_do(token, refused, lost)
        return marked

    def _note_failure(self, target: Target, error: AuthError) -> None:
        logger.warning("%s: refreshing the token of tenant %s failed: %s", *_named(target), error)
        if not isinstance(error, RefreshFailed) or not error.retryable:
            return
        before = self._backoffs.get(target.key)
        length = min(before.length * 2, _LONGEST_BACKOFF) if before else _FIRST_BACKOFF
        if error.retry_after is not None:
            length = timedelta(seconds=error.retry_after)
        self._backoffs[target.key] = _Backoff(self._clock() + length, length)

    # Storing

    async def _store(self, claim: RefreshClaim, target: Target, token: OAuthTokenData) -> OAuthTokenData:
        """Make the token durable; until the claim ends, however often it takes.

        When it can't be stored the token is kept here and stored by the next call, and the claim stands, so that nobody
        spends a refresh token that has died.
        """
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                return await self._repository.commit_refresh(claim, token)
            except (ClaimLost, TenantNotFound):
                return await self._superseded(target)
            except StoreError as error:
                if isinstance(error, OutcomeUnknown) and await self._was_stored(target, token):
                    return await self._superseded(target)
                if not (error.retryable or isinstance(error, OutcomeUnknown)) or self._clock() >= claim.deadline:
                    return self._keep(claim, target, token, error)
            await self._sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    def _keep(
        self, claim: RefreshClaim, target: Target, token: OAuthTokenData, error: FusionStoreError
    ) -> OAuthTokenData:
        self._unstored[target.key] = (claim, token)
        logger.error("%s: the new token of tenant %s can't be stored: %s", *_named(target), type(error).__name__)
        raise RefreshFailed(
            f"{target.service}: the new token couldn't be stored ({type(error).__name__})", retryable=True
        ) from None

    async def _store_what_is_left(self, target: Target) -> None:
        left = self._unstored.pop(target.key, None)
        if left is not None:
            await self._store(left[0], target, left[1])

    async def _was_stored(self, target: Target, token: OAuthTokenData) -> bool:
        try:
            standing = await self._read(target)
        except StoreError:
            return False
        return standing is not None and standing.access_token == token.access_token

    async def _superseded(self, target: Target) -> OAuthTokenData:
        """What stands now that another one stored or deleted the token."""
        standing = await self._read(target)
        if standing is None:
            raise NeedsReauth(f"{target.service}: the token was deleted: the user has to consent again")
        return standing

    async def _read(self, target: Target) -> OAuthTokenData | None:
        return await self._repository.get_oauth_token(target.tenant_hash, target.service)

    async def _claim(self, target: Target) -> RefreshClaim | None:
        try:
            return await self._repository.claim_refresh(target.tenant_hash, target.service, ttl=self._timing.lease)
        except TenantNotFound:
            raise AuthError("the tenant is gone") from None

    async def _release(self, claim: RefreshClaim) -> None:
        try:
            await self._repository.release_refresh(claim)
        except StoreError as error:
            logger.warning("a refresh claim couldn't be released and runs out by itself: %s", type(error).__name__)

    # Judging

    def _is_due(self, token: OAuthTokenData, refused: int | None) -> bool:
        if token.version == refused:
            return True
        if token.expires_at is None:
            return False
        lifetime = token.expires_at - token.updated_at if token.updated_at else timedelta()
        buffer = min(self._timing.expiry_buffer, max(lifetime / 4, timedelta()))
        return token.expires_at - self._clock() <= buffer

    def _can_renew(self, target: Target, token: OAuthTokenData | None) -> bool:
        return target.strategy.unattended or (token is not None and self._can_refresh(target, token))

    @staticmethod
    def _can_refresh(target: Target, token: OAuthTokenData) -> bool:
        return target.strategy.supports_refresh and token.has_refresh_token and REJECTED not in token.metadata

    def _make_do(self, token: OAuthTokenData | None, refused: int | None, failure: AuthError) -> OAuthTokenData:
        """The standing token while it lives and wasn't refused upstream; else the failure is raised."""
        if token is None or token.version == refused or token.is_expired(now=self._clock()):
            raise failure
        return token


def _named(target: Target) -> tuple[str, str]:
    return target.service, target.tenant_hash[:16]
