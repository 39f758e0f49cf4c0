"""Bearer authentication for ASGI applications."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar, Unpack
from urllib.parse import unquote_to_bytes

from fusion_store._async import AsyncTokenRepository
from fusion_store._interface import TokenRepository
from fusion_store.http._bearer import Refusal
from fusion_store.http._context import TENANT
from fusion_store.http._gate import Gate, Incoming, Options

# As loose as this because each framework types scopes and messages in its own way.
Scope: TypeAlias = Any
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Any, Any], Awaitable[None]]

P = ParamSpec("P")
T = TypeVar("T")

CHALLENGE_KEY: Final = "fusion_store.challenge"
DENIAL_EXTENSION: Final = "websocket.http.response"
_POLICY_VIOLATION: Final = 1008  # RFC 6455 section 7.4.1


class BearerAuthMiddleware:
    """Lets requests and WebSockets with a live API token through to ``app``, and answers the others (RFC 6750).

    The caller's ``APITokenMetadata`` is in ``request.state.tenant`` and ``current_tenant()``; None on public paths
    and for nobody. What is around this middleware sees no ``current_tenant()``, down to ``receive`` and ``send``.

    The answers: 401 without credentials or with a token that isn't live, 400 for malformed ones, 403 where a scope is
    missing, 429 over a rate limit, 503 with ``Retry-After`` while the store can't answer. A WebSocket gets the same
    before it is accepted, or is closed where the server can't send one (it has no ``websocket.http.response``).

    ``repository`` may be of either kind, and stays the caller's to close. It is asked in threads, up to 16 of them and
    each request for ``store_timeout`` at most; a token that a cached one knows needs none. ``options`` are
    described at ``Options``. One that can't be used is ``ConfigError``; single-tenant mode's token is checked
    here, if no event loop runs, and again when the server starts up, which fails if it isn't live. Where neither
    has happened, requests without credentials are answered 503 for as long as it has never been live.
    """

    def __init__(
        self, app: ASGIApp, repository: TokenRepository | AsyncTokenRepository, **options: Unpack[Options]
    ) -> None:
        self._app = app
        self._gate = Gate(repository, **options)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._gate.check_key()
        # In a running loop this would block it; there the start-up checks, or the first request.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        tenant = None
        if not all(path in self._gate.public for path in _readings(scope)):
            answer = await self._gate.decide_async(_incoming(scope))
            if isinstance(answer, Refusal):
                await self._refuse(answer, scope, receive, send)
                return
            tenant = answer
        scope.setdefault("state", {})["tenant"] = tenant
        scope[CHALLENGE_KEY] = self._gate.challenge
        reset = TENANT.set(tenant)
        try:
            await self._app(scope, _as_nobody(receive), _as_nobody(send))
        finally:
            TENANT.reset(reset)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._gate.check_key_async()
        except Exception as error:
            # Raised from here, it would tell the server that there is no lifespan, and to start.
            await receive()
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
        else:
            await self._app(scope, receive, send)

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = ""
        if scope["type"] == "websocket":
            await receive()
            if DENIAL_EXTENSION not in (scope.get("extensions") or {}):
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
                return
            prefix = "websocket."
        headers, body = self._gate.challenge.response(refusal)
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": f"{prefix}http.response.start", "status": refusal.status, "headers": encoded})
        await send({"type": f"{prefix}http.response.body", "body": body})


def _as_nobody(call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """``call`` without this request's tenant: while it runs, a server may begin to handle the connection's next
    request, which would inherit the context."""

    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        reset = TENANT.set(None)
        try:
            return await call(*args, **kwargs)
        finally:
            TENANT.reset(reset)

    return run


def _readings(scope: Scope) -> list[str]:
    """The path as a router may see it, from ``path`` and from ``raw_path``, without the server's prefix.

    The two differ where ``path`` was rewritten on the way here, as Litestar does for a mount.
    """
    paths = [str(scope["path"])]
    if raw := scope.get("raw_path"):
        paths.append(unquote_to_bytes(raw).decode("utf-8", "replace"))
    root = str(scope.get("root_path", "")).rstrip("/")
    return [_without_root(path, root) for path in paths]


def _without_root(path: str, root: str) -> str:
    """``path`` below ``root``; as it is if a proxy took ``root`` off; empty if ``root`` is in the middle of it, which
    routers read in different ways."""
    if path.startswith(f"{root}/"):
        return path.removeprefix(root)
    return "" if root in path else path


def _incoming(scope: Scope) -> Incoming:
    def header(name: str) -> list[bytes]:
        wanted = name.encode()
        return [value for key, value in scope["headers"] if key.lower() == wanted]

    return Incoming(header, scope.get("query_string", b""), (scope.get("client") or (None,))[0])
