"""Watching a vault at work: how often, how long, and how each call ended."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from functools import partial, wraps
from types import TracebackType
from typing import Concatenate, Final, ParamSpec, TypeVar

from fusion_store._errors import Conflict, InvalidInput, NotFound
from fusion_store._interface import TokenRepository
from fusion_store._values import APITokenMetadata
from fusion_store.layers._cached import CachedTokenRepository

P = ParamSpec("P")
R = TypeVar("R")

_ANSWERS: Final = (Conflict, InvalidInput, NotFound)
_failures: Final[set[str]] = set()
"""The errors of observers that were logged."""

_log: Final = logging.getLogger("fusion_store")


class Observer(ABC):
    """Is told of every operation and every refresh, by a context that is entered before and left after it.

    An exception passes through the context, which can't swallow it. What leaving a context raises is logged, once for
    each class of error, and changes nothing: the operation ended as it did. Contexts are entered by many threads at
    once. Names of operations and services are all that is told: never a token, hash or description.
    """

    @abstractmethod
    def operation(self, name: str) -> AbstractContextManager[object]:
        """Around the typed operation ``name``, for example ``validate_api_token``."""

    @abstractmethod
    def refresh(self, service: str) -> AbstractContextManager[object]:
        """Around one request for a new token to the provider of ``service``; ``GrantRejected`` where it refuses."""


@contextmanager
def entered(contexts: Iterable[AbstractContextManager[object]]) -> Iterator[None]:
    """All of them, left in reverse order; how they are left makes no difference to what happens inside."""
    with ExitStack() as stack:
        for context in contexts:
            context.__enter__()
            stack.push(partial(_leave, context))
        yield


def _leave(
    context: AbstractContextManager[object],
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
) -> bool:
    try:
        context.__exit__(kind, error, trace)
    except Exception as failure:
        name = type(failure).__name__
        if failure is not error and name not in _failures:
            _failures.add(name)
            _log.warning("an observer failed, which is said once: %s", name)
    return False


def _observed(
    method: Callable[Concatenate[TokenRepository, P], R],
) -> Callable[Concatenate[ObservedTokenRepository, P], R]:
    name = method.__name__

    # Without what marks the method as abstract.
    @wraps(method, updated=())
    def call(self: ObservedTokenRepository, /, *args: P.args, **kwargs: P.kwargs) -> R:
        operation: Callable[P, R] = getattr(self.inner, name)
        with entered(observer.operation(name) for observer in self.observers):
            return operation(*args, **kwargs)

    return call


class ObservedTokenRepository(TokenRepository):
    """Another repository's operations, each under the eyes of ``observers``. Closing it closes ``inner``.

    Of the two streams, ``iter_api_tokens`` and ``export_records``, the call is observed, not the steps.
    """

    def __init__(self, inner: TokenRepository, *observers: Observer) -> None:
        self.inner = inner
        self.observers = observers

    def recall_api_token(self, token: str) -> APITokenMetadata | None:
        """As ``CachedTokenRepository.recall_api_token``; an answer is observed as a validation."""
        if not isinstance(self.inner, CachedTokenRepository | ObservedTokenRepository):
            return None
        metadata = self.inner.recall_api_token(token)
        if metadata is not None:
            with entered(observer.operation("validate_api_token") for observer in self.observers):
                return metadata
        return None

    add_api_token = _observed(TokenRepository.add_api_token)
    validate_api_token = _observed(TokenRepository.validate_api_token)
    get_api_token = _observed(TokenRepository.get_api_token)
    list_api_tokens = _observed(TokenRepository.list_api_tokens)
    iter_api_tokens = _observed(TokenRepository.iter_api_tokens)
    find_api_tokens = _observed(TokenRepository.find_api_tokens)
    resolve_api_token = _observed(TokenRepository.resolve_api_token)
    rotate_api_token = _observed(TokenRepository.rotate_api_token)
    delete_api_token = _observed(TokenRepository.delete_api_token)
    delete_tenant = _observed(TokenRepository.delete_tenant)
    get_tenant = _observed(TokenRepository.get_tenant)
    list_tenants = _observed(TokenRepository.list_tenants)
    resolve_tenant = _observed(TokenRepository.resolve_tenant)
    store_oauth_token = _observed(TokenRepository.store_oauth_token)
    get_oauth_token = _observed(TokenRepository.get_oauth_token)
    delete_oauth_token = _observed(TokenRepository.delete_oauth_token)
    list_oauth_tokens = _observed(TokenRepository.list_oauth_tokens)
    claim_refresh = _observed(TokenRepository.claim_refresh)
    commit_refresh = _observed(TokenRepository.commit_refresh)
    release_refresh = _observed(TokenRepository.release_refresh)
    create_auth_code = _observed(TokenRepository.create_auth_code)
    redeem_auth_code = _observed(TokenRepository.redeem_auth_code)
    store_credentials = _observed(TokenRepository.store_credentials)
    get_credentials = _observed(TokenRepository.get_credentials)
    delete_credentials = _observed(TokenRepository.delete_credentials)
    list_credentials = _observed(TokenRepository.list_credentials)
    schema_version = _observed(TokenRepository.schema_version)
    stats = _observed(TokenRepository.stats)
    health = _observed(TokenRepository.health)
    check = _observed(TokenRepository.check)
    audit_log = _observed(TokenRepository.audit_log)
    purge_expired = _observed(TokenRepository.purge_expired)
    backup = _observed(TokenRepository.backup)
    export_records = _observed(TokenRepository.export_records)
    import_records = _observed(TokenRepository.import_records)
    flush = _observed(TokenRepository.flush)
    close = _observed(TokenRepository.close)


class LogObserver(Observer):
    """Logs what failed, and what took ``slow`` or longer, through the standard library.

    The logger is ``fusion_store.operations``, unless another is given. Failures of the store are warnings, slow calls
    are too; a conflict, bad input or something not found is an answer, logged as ``DEBUG`` like all the rest. Each
    record carries the fields ``operation`` (``refresh`` for one at a provider), ``service`` (empty but for a refresh),
    ``outcome`` (``ok`` or the error's class) and ``duration_ms``, for formatters that write JSON.
    """

    def __init__(self, *, slow: timedelta = timedelta(seconds=1), logger: logging.Logger | None = None) -> None:
        self._slow_seconds = slow.total_seconds()
        self._logger = logger or logging.getLogger("fusion_store.operations")

    def operation(self, name: str) -> AbstractContextManager[object]:
        return self._logged(name, "")

    def refresh(self, service: str) -> AbstractContextManager[object]:
        return self._logged("refresh", service)

    @contextmanager
    def _logged(self, operation: str, service: str) -> Iterator[None]:
        began, outcome, failed = time.perf_counter(), "ok", False
        try:
            yield
        except BaseException as error:
            outcome, failed = type(error).__name__, not isinstance(error, _ANSWERS)
            raise
        finally:
            seconds = time.perf_counter() - began
            level = logging.WARNING if failed or seconds >= self._slow_seconds else logging.DEBUG
            fields = {"operation": operation, "service": service, "outcome": outcome, "duration_ms": seconds * 1000}
            self._logger.log(level, "%s: %s in %.1f ms", operation, outcome, seconds * 1000, extra=fields)
