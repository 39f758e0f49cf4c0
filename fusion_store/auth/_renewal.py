"""Getting a live token: once per token, whoever asks, in whatever process.

The right to refresh is a claim in the store. Nothing of the store is held while the provider is asked. A new token is
durable before anyone sees it, since with it the old refresh token may have died.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from fusion_store._errors import (
    AuthError,
    ClaimLost,
    EncryptionError,
    FusionStoreError,
    NeedsReauth,
    OutcomeUnknown,
    RefreshFailed,
    RefreshTimeout,
    StoreClosed,
    StoreError,
    TenantNotFound,
    VersionConflict,
)
from fusion_store._values import OAuthTokenData, RefreshClaim
from fusion_store.auth._strategy import AuthContext, GrantRejected, Strategy
from fusion_store.layers._observed import entered

if TYPE_CHECKING:
    from fusion_store._async import AsyncTokenRepository
    from fusion_store.auth._config import ServiceConfig
    from fusion_store.layers import Observer

logger: Final = logging.getLogger("fusion_store.auth")

REJECTED: Final = "fusion_store.grant_rejected"
"""In a token's metadata: the provider refused to refresh it, so nobody tries again."""

REFUSED_UPSTREAM: Final = "refused"
"""The value of ``REJECTED`` where the service had refused the access token, too."""

_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 1.0
_FIRST_BACKOFF: Final = timedelta(seconds=1)
_LONGEST_BACKOFF: Final = timedelta(minutes=5)
_LONGEST_RETRY_AFTER_SECONDS: Final = 86_400.0
_REPLACEMENT_STANDS: Final = timedelta(minutes=1)
"""So long the token that took a refused one's place isn't renewed for being refused, too."""


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
    """How long the provider is left alone after a failure."""

    until: datetime
    length: timedelta
    retryable: bool


class RefusedAgain(RefreshFailed):
    """The service refuses a token that has just taken the place of one that it refused."""


class _Replacement(NamedTuple):
    """The version of the token that took a refused one's place, and until when it stands."""

    version: int
    until: datetime


class _Unstored(NamedTuple):
    """A new token under its claim; ``seen`` is the version of the token it replaces, 0 where there was none."""

    claim: RefreshClaim
    token: OAuthTokenData
    seen: int


class Renewal:
    """Renews tokens of any tenant; one for each ``AuthManager``."""

    def __init__(
        self,
        repository: AsyncTokenRepository,
        timing: Timing,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
        observers: Sequence[Observer] = (),
    ) -> None:
        self._repository = repository
        self._observers = observers
        self._timing = timing
        self._clock = clock
        self._sleep = sleep
        self._is_closing = False
        self._running: dict[tuple[str, str], asyncio.Task[OAuthTokenData]] = {}
        self._unstored: dict[tuple[str, str], _Unstored] = {}
        self._backoffs: dict[tuple[str, str], _Backoff] = {}
        self._replacements: dict[tuple[str, str], _Replacement] = {}

    async def live_token(self, target: Target, refused_version: int | None = None) -> OAuthTokenData:
        """A token with enough life left, of another version than ``refused_version``.

        Callers in one event loop share one renewal; one that is cancelled doesn't end it for the others.
        """
        token = await self._read(target)
        if token is not None and not self._is_due(token, refused_version) and target.key not in self._unstored:
            return token
        while (task := self._running.get(target.key)) is not None:
            token = await asyncio.shield(task)
            if not _is_refused(token, refused_version):
                return token
        if self._is_closing:
            raise StoreClosed
        task = asyncio.create_task(self._renew(target, refused_version))
        self._running[target.key] = task
        task.add_done_callback(lambda done: self._ended(target, done))
        return await asyncio.shield(task)

    def _ended(self, target: Target, task: asyncio.Task[OAuthTokenData]) -> None:
        self._running.pop(target.key, None)
        if not task.cancelled():
            # Looked at, so that a failure whose callers were all cancelled isn't reported as never retrieved.
            task.exception()

    async def settle(self) -> None:
        """Begin no more renewals, wait for those under way, and try once more to store what is left."""
        self._is_closing = True
        while self._running:
            await asyncio.wait(set(self._running.values()))
        for key, left in list(self._unstored.items()):
            try:
                await self._repository.commit_refresh(left.claim, left.token)
            except FusionStoreError as error:
                logger.error("%s: a new token of tenant %s is lost: %s", key[1], key[0][:16], type(error).__name__)
        self._unstored.clear()

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
            if (pause := self._pause(target) or self._refused_again(target, refused)) is not None:
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
        token: OAuthTokenData | None = None
        try:
            token = await self._read(target)
            if token is not None and not self._is_due(token, refused):
                await self._release(claim)
                return token
            with entered(observer.refresh(target.service) for observer in self._observers):
                new = await self._ask_provider(target, token)
        except GrantRejected as error:
            if not target.strategy.unattended:
                return await self._rejected(claim, target, token, refused, error)
            await self._release(claim)
            self._note_failure(target, error)
            return self._make_do(token, refused, NeedsReauth(f"{target.service}: the sign-in was refused ({error})"))
        except FusionStoreError as error:
            await self._release(claim)
            pause = self._note_failure(target, error)
            if isinstance(error, RefreshFailed):
                # The error itself is the strategy's, which may raise it again.
                error = copy(error)
                error.retry_after = pause.total_seconds()
            return self._make_do(token, refused, error)
        except Exception:
            await self._release(claim)
            raise
        self._backoffs.pop(target.key, None)
        left = _Unstored(claim, new, token.version if token else 0)
        stored = await self._store(left, target, refused)
        if refused is not None:
            self._note_replacement(target, stored.version)
        return stored

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
        lost = NeedsReauth(f"{target.service}: the provider refused the grant ({error}): the user has to consent again")
        if token is None or latest is None or latest.version != token.version:
            await self._release(claim)
            return self._make_do(latest, refused, lost)
        mark = REFUSED_UPSTREAM if _is_refused(token, refused) else "1"
        try:
            marked = await self._repository.commit_refresh(
                claim, replace(token, metadata={**token.metadata, REJECTED: mark})
            )
        except FusionStoreError as failure:
            logger.warning("%s: the refusal can't be noted: %s", target.service, type(failure).__name__)
            await self._release(claim)
            marked = token
        return self._make_do(marked, refused, lost)

    def _pause(self, target: Target) -> RefreshFailed | None:
        backoff = self._backoffs.get(target.key)
        if backoff is None or backoff.until <= self._clock():
            return None
        left = (backoff.until - self._clock()).total_seconds()
        return RefreshFailed(
            f"{target.service}: the last refresh failed a moment ago", retryable=backoff.retryable, retry_after=left
        )

    def _refused_again(self, target: Target, refused: int | None) -> RefusedAgain | None:
        replacement = self._replacements.get(target.key)
        if replacement is None or replacement.version != refused or replacement.until <= self._clock():
            return None
        left = (replacement.until - self._clock()).total_seconds()
        return RefusedAgain(f"{target.service}: the service refuses the new token, too", retry_after=left)

    def _note_replacement(self, target: Target, version: int) -> None:
        now = self._clock()
        self._replacements = {key: standing for key, standing in self._replacements.items() if standing.until > now}
        self._replacements[target.key] = _Replacement(version, now + _REPLACEMENT_STANDS)

    def _note_failure(self, target: Target, error: FusionStoreError) -> timedelta:
        """Begin the pause after a failure, and say how long it is."""
        logger.warning("%s: refreshing the token of tenant %s failed: %s", *_named(target), error)
        now, before = self._clock(), self._backoffs.get(target.key)
        length = min(before.length * 2, _LONGEST_BACKOFF) if before else _FIRST_BACKOFF
        asked = error.retry_after if isinstance(error, RefreshFailed) else None
        if asked is not None:
            length = max(timedelta(seconds=min(asked, _LONGEST_RETRY_AFTER_SECONDS)), _FIRST_BACKOFF)
        retryable = isinstance(error, RefreshFailed | StoreError) and error.retryable
        self._backoffs = {
            key: backoff for key, backoff in self._backoffs.items() if backoff.until > now - _LONGEST_BACKOFF
        }
        self._backoffs[target.key] = _Backoff(now + length, length, retryable)
        return length

    # Storing

    async def _store(self, left: _Unstored, target: Target, refused: int | None) -> OAuthTokenData:
        """Make the new token durable; tried until the claim ends.

        When it can't be stored it is kept here and stored by the next call, and the claim stands, so that nobody
        spends a refresh token that has died.
        """
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                return await self._repository.commit_refresh(left.claim, left.token)
            except ClaimLost:
                return await self._store_without_claim(left, target, refused)
            except TenantNotFound:
                raise AuthError("the tenant is gone") from None
            except (StoreError, EncryptionError) as error:
                unknown = isinstance(error, OutcomeUnknown)
                if unknown and await self._has_changed(left, target):
                    return await self._superseded(target, refused)
                if not (unknown or getattr(error, "retryable", False)) or self._clock() >= left.claim.deadline:
                    return self._keep(left, target, error)
            except FusionStoreError as error:
                await self._release(left.claim)
                raise RefreshFailed(f"{target.service}: the new token can't be stored: {error}") from None
            await self._sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    async def _store_without_claim(self, left: _Unstored, target: Target, refused: int | None) -> OAuthTokenData:
        """Another one has taken the claim, stored a token or deleted it: ours counts only if the old one stands."""
        standing = await self._read(target)
        if (standing.version if standing else 0) != left.seen:
            return await self._superseded(target, refused)
        try:
            return await self._repository.store_oauth_token(
                target.tenant_hash, target.service, left.token, expected_version=left.seen
            )
        except VersionConflict:
            return await self._superseded(target, refused)

    def _keep(self, left: _Unstored, target: Target, error: FusionStoreError) -> OAuthTokenData:
        self._unstored[target.key] = left
        logger.error("%s: the new token of tenant %s can't be stored: %s", *_named(target), type(error).__name__)
        raise RefreshFailed(
            f"{target.service}: the new token couldn't be stored ({type(error).__name__})", retryable=True
        ) from None

    async def _store_what_is_left(self, target: Target) -> None:
        left = self._unstored.pop(target.key, None)
        if left is not None:
            # Where another one has stored or deleted the token since, the caller looks at what stands now.
            with suppress(NeedsReauth):
                await self._store(left, target, None)

    async def _has_changed(self, left: _Unstored, target: Target) -> bool:
        try:
            standing = await self._read(target)
        except StoreError:
            return False
        return standing is not None and standing.version != left.seen

    async def _superseded(self, target: Target, refused: int | None) -> OAuthTokenData:
        """What stands now that another one stored or deleted the token, if it can be used."""
        gone = NeedsReauth(f"{target.service}: the token was deleted or ended meanwhile: the user has to consent again")
        return self._make_do(await self._read(target), refused, gone)

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
        if _is_refused(token, refused):
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

    def _make_do(self, token: OAuthTokenData | None, refused: int | None, failure: FusionStoreError) -> OAuthTokenData:
        """The standing token while it lives and wasn't refused upstream; else the failure is raised."""
        if token is None or _is_refused(token, refused) or token.is_expired(now=self._clock()):
            raise failure
        return token


def _is_refused(token: OAuthTokenData, version: int | None) -> bool:
    """Whether a service refused this token: the caller says so, or the mark does."""
    return token.version == version or token.metadata.get(REJECTED) == REFUSED_UPSTREAM


def _named(target: Target) -> tuple[str, str]:
    return target.service, target.tenant_hash[:16]
