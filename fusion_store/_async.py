"""The vault for asyncio hosts: the same operations as coroutines, run in threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta
from functools import partial, wraps
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from fusion_store._errors import ConfigError, StoreClosed
from fusion_store._interface import HEALTH_TIMEOUT, TokenRepository
from fusion_store._recall import recall_of
from fusion_store._records import ExportedRecord
from fusion_store._values import APITokenMetadata, Health

DEFAULT_THREADS: Final = 16
_STEP: Final = 100

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def _coroutine(
    method: Callable[Concatenate[TokenRepository, P], R],
) -> Callable[Concatenate[AsyncTokenRepository, P], Coroutine[Any, Any, R]]:
    name = method.__name__

    @wraps(method)
    async def call(self: AsyncTokenRepository, /, *args: P.args, **kwargs: P.kwargs) -> R:
        operation: Callable[P, R] = getattr(self.repository, name)
        return await self._run(partial(operation, *args, **kwargs))

    return call


class AsyncTokenRepository:
    """A ``TokenRepository`` for asyncio: the same names and semantics, as coroutines that never block the loop.

    Calls run in up to ``threads`` threads of its own; a call that is cancelled runs on to its end there. A token that a
    cached repository knows is validated at once, in the coroutine. ``ConfigError`` for what is no ``TokenRepository``,
    such as a URL.
    Closing it closes ``repository``. Use it with ``async with``, or await ``close``.
    """

    def __init__(self, repository: TokenRepository, *, threads: int = DEFAULT_THREADS) -> None:
        if not isinstance(repository, TokenRepository):
            raise ConfigError("the repository must be a TokenRepository, as get_repository opens one")
        self.repository = repository
        self._recall = recall_of(repository)
        self._closed = False
        self._most_threads = threads
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._threads = ThreadPoolExecutor(self._most_threads, thread_name_prefix="fusion-store")

    async def _run(self, call: Callable[[], T], threads: ThreadPoolExecutor | None = None) -> T:
        if self._closed:
            raise StoreClosed
        if self._process != os.getpid():
            # A fork takes no threads along.
            self._start()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads or self._threads, copy_context().run, call)

    add_api_token = _coroutine(TokenRepository.add_api_token)

    async def validate_api_token(self, token: str) -> APITokenMetadata | None:
        """As ``TokenRepository.validate_api_token``."""
        if self._closed:
            raise StoreClosed
        known = self._recall(token)
        return await self._run(partial(self.repository.validate_api_token, token)) if known is None else known

    get_api_token = _coroutine(TokenRepository.get_api_token)
    list_api_tokens = _coroutine(TokenRepository.list_api_tokens)
    find_api_tokens = _coroutine(TokenRepository.find_api_tokens)
    resolve_api_token = _coroutine(TokenRepository.resolve_api_token)
    rotate_api_token = _coroutine(TokenRepository.rotate_api_token)
    delete_api_token = _coroutine(TokenRepository.delete_api_token)
    delete_tenant = _coroutine(TokenRepository.delete_tenant)
    get_tenant = _coroutine(TokenRepository.get_tenant)
    list_tenants = _coroutine(TokenRepository.list_tenants)
    resolve_tenant = _coroutine(TokenRepository.resolve_tenant)
    store_oauth_token = _coroutine(TokenRepository.store_oauth_token)
    get_oauth_token = _coroutine(TokenRepository.get_oauth_token)
    delete_oauth_token = _coroutine(TokenRepository.delete_oauth_token)
    list_oauth_tokens = _coroutine(TokenRepository.list_oauth_tokens)
    claim_refresh = _coroutine(TokenRepository.claim_refresh)
    commit_refresh = _coroutine(TokenRepository.commit_refresh)
    release_refresh = _coroutine(TokenRepository.release_refresh)
    create_auth_code = _coroutine(TokenRepository.create_auth_code)
    redeem_auth_code = _coroutine(TokenRepository.redeem_auth_code)
    store_credentials = _coroutine(TokenRepository.store_credentials)
    get_credentials = _coroutine(TokenRepository.get_credentials)
    delete_credentials = _coroutine(TokenRepository.delete_credentials)
    list_credentials = _coroutine(TokenRepository.list_credentials)
    schema_version = _coroutine(TokenRepository.schema_version)
    stats = _coroutine(TokenRepository.stats)

    async def health(self, *, timeout: timedelta = HEALTH_TIMEOUT) -> Health:
        """As ``TokenRepository.health``; in a thread of its own: calls that hang may have all the others."""
        own = ThreadPoolExecutor(1, thread_name_prefix="fusion-store")
        try:
            return await self._run(partial(self.repository.health, timeout=timeout), own)
        finally:
            own.shutdown(wait=False)

    check = _coroutine(TokenRepository.check)
    audit_log = _coroutine(TokenRepository.audit_log)
    purge_expired = _coroutine(TokenRepository.purge_expired)
    backup = _coroutine(TokenRepository.backup)
    import_records = _coroutine(TokenRepository.import_records)
    flush = _coroutine(TokenRepository.flush)

    def iter_api_tokens(self) -> AsyncIterator[APITokenMetadata]:
        """As ``TokenRepository.iter_api_tokens``, for ``async for``."""
        return self._iterate(self.repository.iter_api_tokens)

    def export_records(self) -> AsyncIterator[ExportedRecord]:
        """As ``TokenRepository.export_records``, for ``async for``."""
        return self._iterate(self.repository.export_records)

    async def _iterate(self, start: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        source = await self._run(start)
        while step := await self._run(lambda: list(islice(source, _STEP))):
            for item in step:
                if self._closed:
                    raise StoreClosed
                yield item

    async def close(self) -> None:
        """As ``TokenRepository.close``."""
        if not self._closed:
            await self._run(self.repository.close)
            self._closed = True
            self._threads.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
