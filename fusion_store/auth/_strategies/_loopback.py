"""The page on this machine to which the browser comes back (RFC 8252 section 7.3)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from fusion_store._errors import ConfigError

MAX_REQUEST_BYTES: Final = 64 * 1024
"""Browsers send the cookies of everything that was ever served on this machine."""
MAX_CONNECTIONS: Final = 32
READ_SECONDS: Final = 10.0

_HEADERS: Final = (
    "Content-Type: text/html; charset=utf-8\r\n"
    "Content-Security-Policy: default-src 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cache-Control: no-store\r\n"
    "Connection: close\r\n"
)


class Loopback:
    """Waits for one authorization response with the right state; any other request is refused, and changes nothing.

    Listens within its ``async with`` block, on loopback only.
    """

    def __init__(self, redirect_uri: str, state: str) -> None:
        self._configured = urlsplit(redirect_uri)
        self._state = state
        self._response: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._connections: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self.redirect_uri = ""

    async def __aenter__(self) -> Self:
        parts = self._configured
        host = "::1" if parts.hostname == "::1" else "127.0.0.1"
        try:
            self._server = await asyncio.start_server(self._serve, host, parts.port or 0, limit=MAX_REQUEST_BYTES)
        except OSError as error:
            raise ConfigError(f"redirect_uri: can't listen there: {error.strerror}") from None
        port = self._server.sockets[0].getsockname()[1]
        shown = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self.redirect_uri = urlunsplit(("http", f"{shown}:{port}", parts.path, "", ""))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_closing = True
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def wait(self, sleep: Callable[[float], Awaitable[None]], seconds: float) -> dict[str, str] | None:
        """The response's parameters; None when ``seconds`` have passed."""

        async def give_up() -> None:
            await sleep(seconds)
            self._response.cancel()

        timer = asyncio.create_task(give_up())
        try:
            await asyncio.wait({self._response})
            return None if self._response.cancelled() else self._response.result()
        finally:
            timer.cancel()
            await asyncio.gather(timer, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            if len(self._connections) <= MAX_CONNECTIONS and not self._is_closing:
                async with asyncio.timeout(READ_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # a browser's spare connection, or nobody's
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.decode("latin-1").partition(" ")
        target = urlsplit(rest.partition(" ")[0])
        if method != "GET" or (target.path or "/") != (self._configured.path or "/"):
            return _page("404 Not Found", "There is nothing here.")
        parameters = _parameters(target.query)
        if parameters is None or not secrets.compare_digest(parameters.get("state", "").encode(), self._state.encode()):
            return _page("400 Bad Request", "This isn't the answer that was waited for.")
        if not self._response.done():
            self._response.set_result(parameters)
        return _page("200 OK", "You can close this window.")


def _parameters(query: str) -> dict[str, str] | None:
    """The parameters; None where one stands twice, which none may (RFC 6749 section 3.1)."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=32, errors="strict")
    except ValueError:
        return None
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


def _page(status: str, text: str) -> bytes:
    body = f"<!doctype html><title>Sign-in</title><p>{text}"
    return f"HTTP/1.1 {status}\r\n{_HEADERS}Content-Length: {len(body)}\r\n\r\n{body}".encode()
