"""Bearer authentication for WSGI applications."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Unpack

from fusion_store._async import AsyncTokenRepository
from fusion_store._interface import TokenRepository
from fusion_store.http._bearer import Refusal
from fusion_store.http._context import TENANT
from fusion_store.http._gate import Gate, Incoming, Options

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

TENANT_KEY: Final = "fusion_store.tenant"


class BearerAuthWSGI:
    """Lets requests with a live API token through to ``app``, and answers the others, as ``BearerAuthMiddleware``.

    The caller's ``APITokenMetadata`` is in ``environ["fusion_store.tenant"]`` and ``current_tenant()``, also while a
    streamed answer is made; None on public paths and for nobody.

    ``repository`` may be of either kind, and stays the caller's to close. ``options`` are described at ``Options``.
    One that can't be used is ``ConfigError``, and so is a token of single-tenant mode that isn't live.
    """

    def __init__(
        self, app: WSGIApplication, repository: TokenRepository | AsyncTokenRepository, **options: Unpack[Options]
    ) -> None:
        self._app = app
        self._gate = Gate(repository, **options)
        self._gate.check_key()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        tenant = None
        if _path(environ) not in self._gate.public:
            answer = self._gate.decide(_incoming(environ))
            if isinstance(answer, Refusal):
                headers, body = self._gate.challenge.response(answer)
                start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", list(headers.items()))
                return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]
            tenant = answer
        environ[TENANT_KEY] = tenant
        context = copy_context()
        context.run(TENANT.set, tenant)
        return _InContext(context, context.run(self._app, environ, start_response))


class _InContext:
    """An application's answer, made piece by piece in the context of its request."""

    def __init__(self, context: Context, body: Iterable[bytes]) -> None:
        self._context = context
        self._body = body
        self._pieces: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        self._pieces = self._context.run(iter, self._body)
        return self

    def __next__(self) -> bytes:
        assert self._pieces is not None
        return self._context.run(next, self._pieces)

    def close(self) -> None:
        close: Callable[[], Any] | None = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)


def _path(environ: WSGIEnvironment) -> str:
    """``PATH_INFO`` as text: its bytes come as Latin-1 (PEP 3333)."""
    path: str = environ.get("PATH_INFO", "")
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _incoming(environ: WSGIEnvironment) -> Incoming:
    def header(name: str) -> list[bytes]:
        value = environ.get("HTTP_" + name.upper().replace("-", "_"))
        return [] if value is None else [value.encode("latin-1", "replace")]

    query = environ.get("QUERY_STRING", "").encode("latin-1", "replace")
    return Incoming(header, query, environ.get("REMOTE_ADDR") or None)
