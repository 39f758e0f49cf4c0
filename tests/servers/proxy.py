"""A proxy in front of a server that cuts connections where a test says so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """``cut_at``: a client's message that holds these bytes is the last: it reaches the server if ``delivers``.

    ``refuses``: new connections are closed at once. ``messages``: how often a client sent something.
    """

    port: int
    target: tuple[str, int]
    cut_at: bytes | None = None
    delivers: bool = False
    refuses: bool = False
    cuts: int = 0
    messages: int = 0
    _open: set[socket.socket] = field(default_factory=set)

    def cut_all(self) -> None:
        """End every connection."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def serve(self, client: socket.socket) -> None:
        if self.refuses:
            client.close()
            return
        with client, socket.create_connection(self.target) as server:
            self._open |= {client, server}
            answers = threading.Thread(target=_pump, args=(server, client), daemon=True)
            answers.start()
            with suppress(OSError):
                while message := client.recv(65_536):
                    self.messages += 1
                    if self.cut_at is not None and self.cut_at in message:
                        self._cut(client, server, message)
                        break
                    server.sendall(message)
            for connection in (server, client):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            answers.join(10)
            self._open -= {client, server}

    def _cut(self, client: socket.socket, server: socket.socket, message: bytes) -> None:
        self.cut_at = None
        self.cuts += 1
        client.shutdown(socket.SHUT_RDWR)
        if self.delivers:
            server.sendall(message)
            # Until the server has answered, it may not have read the message.
            server.settimeout(5)
            with suppress(OSError):
                server.recv(65_536, socket.MSG_PEEK)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while answer := source.recv(65_536):
            target.sendall(answer)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(listener.getsockname()[1], (host, port))

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            proxy.cut_all()
