"""How a guard learns that the store failed while a request was handled, whatever became of the exception."""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType

from fusion_store._errors import EncryptionError, StoreError


class RequestFailure:
    """Of one request: why the store couldn't be asked, None while nothing failed."""

    error: StoreError | EncryptionError | None = None


REQUEST_FAILURE: ContextVar[RequestFailure | None] = ContextVar("fusion_store.request_failure", default=None)


class NotedFailures:
    """``with NotedFailures():`` tells the guard of this request, where there is one, that the store failed.

    What else the vault raises is the caller's to answer, such as ``InvalidInput`` or ``TenantNotFound``.

    No generator makes this one: what passes through such a one gets a traceback set, and the SDK's errors are frozen.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        failure = REQUEST_FAILURE.get()
        if failure is not None and isinstance(error, StoreError | EncryptionError):
            failure.error = error
