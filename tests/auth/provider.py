"""A provider as hostile as a test wants it: a real HTTP server on loopback, in a thread of its own.

``script`` says what a path answers; without a script ``/token`` is a strict token endpoint, which rotates refresh
tokens and kills a token's whole family when one is used twice (RFC 9700 section 4.14.2).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

T = TypeVar("T")


@dataclass
class Request:
    """What the provider was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Gate:
    """Holds an answer back until ``open`` is called, from any thread."""

    def __init__(self) -> None:
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    async def passed(self) -> None:
        while not self._opened.is_set():
            await asyncio.sleep(0.005)


@dataclass
class Reply:
    """What the provider answers.

    - ``json`` or ``body``: the one or the other.
    - ``cut``: only so many bytes of the body are sent, whose full length was announced; then the connection ends.
    - ``held_open``: it doesn't end then, and nothing more comes.
    - ``gate``: nothing is answered before it opens.
    """

    status: int = 200
    json: Any = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    held_open: bool = False
    gate: Gate | None = None

    def encoded(self) -> bytes:
        body = self.body if self.json is None else json.dumps(self.json).encode()
        kind = "text/html" if self.json is None else "application/json"
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sent = body if self.cut is None else body[: self.cut]
        return f"HTTP/1.1 {self.status} Scripted\r\n{head}\r\n".encode() + sent


Answer = Reply | dict[str, Any] | Callable[[Request], "Reply | dict[str, Any]"]
"""A reply, the JSON of one with status 200, or what makes one of the request."""


class Provider:
    """Use it within ``running_provider``.

    ``refreshes`` counts refresh requests that reached the strict token endpoint, granted or not; ``reuses`` those with
    a refresh token that had been rotated away.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.expires_in = 3600
        self.refreshes = 0
        self.reuses = 0
        self._families: dict[str, tuple[str, bool]] = {}
        self._dead_families: set[str] = set()
        self._access_tokens: dict[str, str] = {}
        self._scripts: dict[str, list[Answer]] = {}
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    # Scripts

    def script(self, path: str, answers: Sequence[Answer]) -> None:
        """What a path answers, one after the other; the last one stays."""
        self._scripts[path] = list(answers)

    def unscript(self, path: str) -> None:
        """Answer a path as without a script."""
        self._scripts.pop(path, None)

    def url(self, path: str = "") -> str:
        """The URL of a path here."""
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}{path}"

    def asked(self, path: str) -> list[Request]:
        """The requests to a path, in order."""
        return [request for request in self.requests if request.path == path]

    # The strict token endpoint

    def grant(self) -> dict[str, Any]:
        """A new token of a new family, as the token endpoint would answer it."""
        return self._issue(secrets.token_hex(8))

    def is_live(self, access_token: str) -> bool:
        """Whether the token was issued here and its family not killed; its age doesn't matter."""
        family = self._access_tokens.get(access_token)
        return family is not None and family not in self._dead_families

    def _issue(self, family: str) -> dict[str, Any]:
        access_token, refresh_token = (f"{kind}_{secrets.token_urlsafe(24)}" for kind in ("access", "refresh"))
        self._access_tokens[access_token] = family
        self._families[refresh_token] = (family, False)
        return {
            "access_token": access_token,
            "refresh_token": refresh_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
        }

    def strict_token(self, request: Request) -> Reply:
        """The strict token endpoint; a script can name it to come after other answers."""
        grant_type = request.form.get("grant_type")
        if grant_type == "client_credentials":
            answer = self._issue(secrets.token_hex(8))
            del answer["refresh_token"]
            return Reply(json=answer)
        if grant_type != "refresh_token":
            return Reply(400, {"error": "unsupported_grant_type"})
        self.refreshes += 1
        family, is_spent = self._families.get(request.form.get("refresh_token", ""), ("", True))
        if is_spent and family:
            self.reuses += 1
            self._dead_families.add(family)
        if is_spent or family in self._dead_families:
            return Reply(400, {"error": "invalid_grant", "error_description": 'Zurückgezogen: \r\n"weg"'})
        self._families[request.form["refresh_token"]] = (family, True)
        return Reply(json=self._issue(family))

    # The server

    def start(self) -> None:
        self._thread.start()
        self.port = self._run(self._listen())

    def stop(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            reply = self._answer(await self._read(reader))
            if reply.gate is not None:
                await reply.gate.passed()
            writer.write(reply.encoded())
            await writer.drain()
            if reply.held_open:
                await reader.read()
        except (OSError, EOFError):
            pass  # the client left, as some tests want it to
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        if headers.get("transfer-encoding") == "chunked":
            body = await _read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        return Request(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)

    def _answer(self, request: Request) -> Reply:
        self.requests.append(request)
        script = self._scripts.get(request.path)
        if script is None:
            return self.strict_token(request) if request.path == "/token" else Reply(404)
        answer = script.pop(0) if len(script) > 1 else script[0]
        if callable(answer):
            answer = answer(request)
        return answer if isinstance(answer, Reply) else Reply(json=answer)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


@contextmanager
def running_provider(context: ssl.SSLContext | None = None) -> Iterator[Provider]:
    """A provider that runs within the block; with ``context`` it speaks TLS."""
    provider = Provider(context)
    provider.start()
    try:
        yield provider
    finally:
        provider.stop()
