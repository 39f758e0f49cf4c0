"""A proxy in front of a server that cuts connections where a test says so."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """``cut_at``: a client's message that holds these bytes is the last: it reaches the server if ``delivers``.

    ``refuses``: new connections are closed at once. ``messages`` and ``answers``: how often a client or a server sent
    something; ``cut_at_message`` and ``cut_at_answer``: which of them is the last. While ``goes_on`` is
    cleared nothing is passed on, and nobody gets an error.
    """

    port: int
    target: tuple[str, int]
    cut_at: bytes | None = None
    delivers: bool = False
    refuses: bool = False
    cuts: int = 0
    messages: int = 0
    answers: int = 0
    cut_at_message: int | None = None
    cut_at_answer: int | None = None
    goes_on: threading.Event = field(default_factory=threading.Event)
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
            answers = threading.Thread(target=self._pass_answers_on, args=(server, client), daemon=True)
            answers.start()
            with suppress(OSError):
                while message := client.recv(65_536):
                    self.messages += 1
                    self.goes_on.wait()
                    is_last = self.messages == self.cut_at_message
                    if is_last or (self.cut_at is not None and self.cut_at in message):
                        self._cut(client, server, message)
                        break
                    server.sendall(message)
            for connection in (server, client):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            answers.join(10)
            self._open -= {client, server}

    def _pass_answers_on(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while answer := server.recv(65_536):
                self.answers += 1
                if self.answers == self.cut_at_answer:
                    self.cuts += 1
                    server.shutdown(socket.SHUT_RDWR)
                    break
                self.goes_on.wait()
                client.sendall(answer)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def _cut(self, client: socket.socket, server: socket.socket, message: bytes) -> None:
        self.cut_at = None
        self.cuts += 1
        client.shutdown(socket.SHUT_RDWR)
        if self.delivers:
            answered = self.answers
            server.sendall(message)
            # Until the server has answered, it may not have read the message.
            deadline = time.monotonic() + 5
            while self.answers == answered and time.monotonic() < deadline:
                time.sleep(0.001)


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(listener.getsockname()[1], (host, port))
        proxy.goes_on.set()

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
            proxy.goes_on.set()
            proxy.cut_all()
