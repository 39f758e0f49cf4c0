"""Who may pass: what both middlewares decide alike."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, TypedDict

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import ConfigError, FusionStoreError
from fusion_store._interface import TokenRepository
from fusion_store._recall import recall_of
from fusion_store._values import APITokenMetadata
from fusion_store.http._addresses import authority_host, is_loopback
from fusion_store.http._bearer import (
    INVALID_TOKEN,
    MISSING,
    UNAVAILABLE,
    Challenge,
    Refusal,
    checked_scopes,
    insufficient_scope,
    presented_token,
    too_many_requests,
)
from fusion_store.http._limits import Limiter, RateLimit
from fusion_store.http._paths import PublicPaths
from fusion_store.http._threads import StoreThreads

KEY_VARIABLE: Final = "API_AUTH_KEY"
_OF_PROXIES: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")

_log = logging.getLogger("fusion_store.http")


@dataclass(frozen=True, kw_only=True)
class SingleTenant:
    """Requests without credentials act as the tenant of one API token.

    ``key`` is that token, by default ``API_AUTH_KEY`` from the environment. Only requests from this machine are
    taken in: from a loopback address, for a loopback host, by no proxy that leaves a trace in the headers, and in a
    browser from no page but the server's own. ``allow_remote=True`` takes in everybody who reaches the server.
    """

    key: str | None = field(default=None, repr=False)
    allow_remote: bool = False


class Options(TypedDict, total=False):
    """What both middlewares take; each may be left out.

    - ``realm``: of the challenges, by default ``fusion-store``.
    - ``scopes``: each of them is needed by every request; more for single handlers is theirs to check.
    - ``public_paths``: paths that need no credentials, exactly as they stand here.
    - ``public_prefixes``: the same for all below them; each ends with a slash.
    - ``resource_metadata``: URL of the protected resource's metadata (RFC 9728), named in every challenge.
    - ``required``: False lets requests without credentials through, as nobody. By default True.
    - ``single_tenant``: requests without credentials act as this tenant.
    - ``rate_limit``: how many requests a tenant and an address may make.
    - ``store_timeout``: for how many seconds a request waits for the store before it is answered 503, by default 5;
      None: without limit.
    """

    realm: str
    scopes: Sequence[str]
    public_paths: Sequence[str]
    public_prefixes: Sequence[str]
    resource_metadata: str | None
    required: bool
    single_tenant: SingleTenant | None
    rate_limit: RateLimit | None
    store_timeout: float | None


@dataclass(frozen=True)
class Incoming:
    """Of a request, what is looked at."""

    header: Callable[[str], list[bytes]]
    query: bytes = field(repr=False)
    peer: str | None


@dataclass(frozen=True)
class Question:
    """What is left to be asked of the store: whose token this is. ``presented`` by the request, or standing in."""

    token: str = field(repr=False)
    presented: bool


Decision: TypeAlias = APITokenMetadata | Refusal | None
"""Who called; None for nobody, where nobody may pass."""


class Gate:
    """The decision on a request. Whatever has to be waited for is waited for in threads, and not for long."""

    def __init__(
        self,
        repository: TokenRepository | AsyncTokenRepository,
        *,
        realm: str = "fusion-store",
        scopes: Sequence[str] = (),
        public_paths: Sequence[str] = (),
        public_prefixes: Sequence[str] = (),
        resource_metadata: str | None = None,
        required: bool = True,
        single_tenant: SingleTenant | None = None,
        rate_limit: RateLimit | None = None,
        store_timeout: float | None = 5.0,
    ) -> None:
        self.challenge = Challenge(realm, resource_metadata)
        self.public = PublicPaths(public_paths, public_prefixes)
        self._vault = repository.repository if isinstance(repository, AsyncTokenRepository) else repository
        self._recall = recall_of(self._vault)
        self._scopes = checked_scopes(scopes)
        self._required = required
        self._key = None if single_tenant is None else single_tenant.key or os.environ.get(KEY_VARIABLE, "")
        if self._key == "":
            raise ConfigError(f"single-tenant mode needs an API token: set {KEY_VARIABLE}")
        self._key_was_live = False
        self._allow_remote = single_tenant is not None and single_tenant.allow_remote
        self._limiter = None if rate_limit is None else Limiter(rate_limit)
        self._counts_afar = self._limiter is not None and self._limiter.is_afar
        self._threads = StoreThreads(store_timeout)

    def check_key(self) -> None:
        """Raise ``ConfigError`` where single-tenant mode's token isn't live, ``FusionStoreError`` where that
        can't be found out."""
        if self._key is not None and self._vault.validate_api_token(self._key) is None:
            raise ConfigError(f"single-tenant mode: its key ({KEY_VARIABLE}) is no live API token")
        self._key_was_live = True

    async def check_key_async(self) -> None:
        """As ``check_key``."""
        await self._threads.run(self.check_key)

    def decide(self, request: Incoming) -> Decision:
        """The decision; the calling thread waits."""
        begin = partial(self._begin, request)
        try:
            begun = self._threads.wait(begin) if self._counts_afar else begin()
            return self._threads.wait(partial(self._ask, begun)) if isinstance(begun, Question) else begun
        except FusionStoreError as error:
            return _unavailable(error)

    async def decide_async(self, request: Incoming) -> Decision:
        """The decision; where this process knows it by itself, without a change of threads."""
        begin = partial(self._begin, request)
        try:
            begun = await self._threads.run(begin) if self._counts_afar else begin()
            return await self._threads.run(partial(self._ask, begun)) if isinstance(begun, Question) else begun
        except FusionStoreError as error:
            return _unavailable(error)

    def _begin(self, request: Incoming) -> Decision | Question:
        """The decision, where it takes no look at the store. Waits for the rate limits' storage, if that is afar."""
        if self._limiter and (wait := self._limiter.address(request.peer, request.header("x-forwarded-for"))):
            return too_many_requests(wait)
        presented = presented_token(request.header("authorization"), request.query)
        if isinstance(presented, Refusal):
            return presented
        token = presented or self._stand_in(request)
        if token is None:
            return MISSING if self._required else None
        question = Question(token, presented is not None)
        known = self._recall(token)
        return question if known is None else self._judge(question, known)

    def _ask(self, question: Question) -> Decision:
        if not (question.presented or self._key_was_live):
            self.check_key()
        return self._judge(question, self._vault.validate_api_token(question.token))

    def _judge(self, question: Question, tenant: APITokenMetadata | None) -> Decision:
        if tenant is None:
            return INVALID_TOKEN if question.presented else MISSING
        if self._limiter and (wait := self._limiter.tenant(tenant.tenant_hash)):
            return too_many_requests(wait)
        return tenant if set(self._scopes) <= set(tenant.scopes) else insufficient_scope(self._scopes)

    def _stand_in(self, request: Incoming) -> str | None:
        return self._key if self._allow_remote or _is_local(request) else None


def _unavailable(error: FusionStoreError) -> Refusal:
    _log.warning("a request was answered 503: %s: %s", type(error).__name__, error)
    return UNAVAILABLE


def _is_local(request: Incoming) -> bool:
    """Whether a request was made on this machine, through no proxy that says so, and by no page but this server's own:
    browsers say whose (``Sec-Fetch-Site``, W3C Fetch Metadata), and for writes from where (``Origin``). The page's name
    may have been bound to loopback (DNS rebinding), hence the look at the host asked for."""
    if not is_loopback(request.peer) or any(request.header(name) for name in _OF_PROXIES):
        return False
    if not set(request.header("sec-fetch-site")) <= {b"same-origin", b"none"}:
        return False
    claimed = [*request.header("host"), *request.header("origin")]
    return all(is_loopback(authority_host(value.decode("latin-1"))) for value in claimed)
