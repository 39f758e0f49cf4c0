"""How a guard learns that the store failed while a request was handled, whatever became of the exception."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fusion_store._errors import FusionStoreError


class RequestFailure:
    """Of one request: why the store couldn't be asked, None while nothing failed."""

    error: FusionStoreError | None = None


REQUEST_FAILURE: ContextVar[RequestFailure | None] = ContextVar("fusion_store.mcp.failure", default=None)


@contextmanager
def noting_failures() -> Iterator[None]:
    """Tell the guard of this request, where there is one, about an error of the vault; it is raised on."""
    try:
        yield
    except FusionStoreError as error:
        failure = REQUEST_FAILURE.get()
        if failure is not None:
            failure.error = error
        raise
