"""Web servers on loopback, in threads of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

from fusion_store.http._asgi import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


class Failed(Exception):
    """The server didn't start."""


@contextmanager
def serve(app: ASGIApp, port: int = 0, **config: Any) -> Iterator[str]:
    """Uvicorn, by default on any free port; answers ``127.0.0.1:port``."""
    settings = uvicorn.Config(app, port=port, log_config=None, **({"ws": "websockets-sansio"} | config))
    server = uvicorn.Server(settings)

    def run() -> None:
        try:
            asyncio.run(server.serve())
        except SystemExit:
            pass
        finally:
            ended.set()

    ended = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not server.started:
            if ended.wait(0.005):
                raise Failed
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serve_wsgi(app: WSGIApplication) -> Iterator[str]:
    """The server of the standard library, a thread a request; answers ``127.0.0.1:port``."""

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True
        request_queue_size = 64

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Tests don't write to stderr."""

        def address_string(self) -> str:
            return str(self.client_address[0])

    server = make_server("127.0.0.1", 0, app, Server, Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def without_extensions(app: ASGIApp) -> ASGIApp:
    """As on a server that has no extension of ASGI."""

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": {}}, receive, send)

    return plain


async def call(app: ASGIApp, headers: Sequence[tuple[bytes, bytes]] = (), **scope: Any) -> tuple[int, dict[str, str]]:
    """What an application answers to one request, without a server."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    request = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "client": ("127.0.0.1", 1)}
    await app({**request, "headers": list(headers), **scope}, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}
