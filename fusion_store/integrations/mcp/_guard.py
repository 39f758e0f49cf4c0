"""503 where the libraries would answer a store's failure with another status."""

from __future__ import annotations

import logging
from typing import Any, Final

from fusion_store.http._asgi import ASGIApp, Receive, Scope, Send
from fusion_store.http._bearer import UNAVAILABLE, Challenge
from fusion_store.integrations._failures import REQUEST_FAILURE, RequestFailure

_HIDES_FAILURES: Final = frozenset({401, 500})
_ANSWER: Final = Challenge("fusion-store", None).response(UNAVAILABLE)

_log = logging.getLogger("fusion_store.mcp")


class FusionGuard:
    """Around an MCP server's ASGI application: answers 503 with ``Retry-After`` while the store can't be asked.

    On its own the SDK answers 500 when a verifier or an authorization server raises, and a verifier among several
    (FastMCP's ``MultiAuth``) is passed over, so that the client is told 401 and throws its token away. Where the
    store failed (``StoreError``, ``EncryptionError``) the vault's verifiers, authorization server or key-value
    store during the request, this makes a 503 of a 401, a 500 or an exception. Every other answer passes: where
    another verifier knew the token, the request goes on.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        failure = RequestFailure()
        answer = _Answer(send, failure)
        reset = REQUEST_FAILURE.set(failure)
        try:
            await self._app(scope, receive, answer.pass_on)
        except Exception:
            if failure.error is None or answer.has_begun:
                raise
            await answer.replace()
        finally:
            REQUEST_FAILURE.reset(reset)


class _Answer:
    """The answer to one request: the application's, or 503 in its place."""

    def __init__(self, send: Send, failure: RequestFailure) -> None:
        self._send = send
        self._failure = failure
        self._is_replaced = False
        self.has_begun = False

    async def pass_on(self, message: Any) -> None:
        if message["type"] == "http.response.start" and self._failure.error and message["status"] in _HIDES_FAILURES:
            await self.replace()
        elif not self._is_replaced:
            self.has_begun = True
            await self._send(message)

    async def replace(self) -> None:
        if self._is_replaced:
            return
        self._is_replaced = True
        error = self._failure.error
        _log.warning("a request was refused, the store being unavailable: %s: %s", type(error).__name__, error)
        headers, body = _ANSWER
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": UNAVAILABLE.status, "headers": encoded})
        await self._send({"type": "http.response.body", "body": body})
