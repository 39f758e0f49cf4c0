"""Clients that keep a server busy, and watch what it answers to each token."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field

from tests.integrations.load.applications import WORKER_HEADER

CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}})
BODIES = {"plain": None, "mcp": CALL}
SEED = 64
REQUESTS_OF_A_CONNECTION = 20


class Client:
    """Keeps its connection, and with it a worker, for a while."""

    def __init__(self, application: str, port: int) -> None:
        self._port = port
        self._left = 0
        body = BODIES[application]
        method = "GET" if body is None else "POST"
        accept = "application/json, text/event-stream"
        self._head = f"{method} / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {accept}\r\n"
        if body is not None:
            self._head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._body = body or ""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, token: str) -> tuple[int, str]:
        """The status of the answer, and who gave it."""
        if self._left == 0:
            await self.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._left = REQUESTS_OF_A_CONNECTION
        self._left -= 1
        request = f"{self._head}Authorization: Bearer {token}\r\n\r\n{self._body}"
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(request.encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self._reader.readexactly(int(headers["content-length"]))
        status = int(head[0].split()[1])
        assert status != 200 or b'"error"' not in body, body
        return status, headers[WORKER_HEADER]

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()


@dataclass
class Watch:
    """What became of each token; times are monotonic seconds.

    A token has to be answered 200 until its revocation begins, and 401 by whoever is asked ``bound`` seconds or more
    after its revocation has returned. ``wrong`` has what was answered otherwise.
    """

    bound: float
    tokens: list[str]
    revoking: set[str] = field(default_factory=set)
    revoked_at: dict[str, float] = field(default_factory=dict)
    passed: dict[str, set[str]] = field(default_factory=dict)
    refused: dict[str, set[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    asked: int = 0
    longest: float = 0.0
    """How long after its revocation had returned a token was still let in."""

    def note(self, token: str, began: float, status: int, worker: str) -> None:
        self.asked += 1
        after = began - self.revoked_at.get(token, began + 1)
        if status == 200:
            self.passed.setdefault(token, set()).add(worker)
            self.longest = max(self.longest, after)
            if after >= self.bound:
                self.wrong.append(f"worker {worker} let a token in {after:.3f} s after its revocation")
        elif status == 401 and token in self.revoking:
            if after >= self.bound:
                self.refused.setdefault(token, set()).add(worker)
        else:
            self.wrong.append(f"worker {worker} answered {status} to a live token")

    @property
    def workers(self) -> set[str]:
        return set().union(*self.passed.values())

    def has_passed_everywhere(self, token: str) -> bool:
        return len(self.passed.get(token, ())) == 2

    @property
    def is_settled(self) -> bool:
        return all(len(self.refused.get(token, ())) == 2 for token in self.tokens)


async def keep_asking(watch: Watch, client: Client, number: int) -> None:
    """Ask with one token after the other, in an order of the client's own, until every worker has refused each."""
    source = random.Random(SEED + number)
    while not watch.is_settled and not watch.wrong:
        token = source.choice(watch.tokens)
        began = time.monotonic()
        watch.note(token, began, *await client.ask(token))
    await client.close()
