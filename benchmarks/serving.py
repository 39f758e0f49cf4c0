"""How late a server's event loop is under load, with the vault and with a stub in its place."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, Self

from benchmarks import tenants
from benchmarks.loop_server import CLIENTS, DELAYS
from benchmarks.measuring import Comparison, Work
from benchmarks.stores import Stores

_SECONDS: Final = 1.0
"""That a round takes."""
_PAUSE_SECONDS: Final = 0.2
_MOST: Final = 1.5


def loop_delay(stores: Stores) -> Iterator[Comparison]:
    """Both servers take the same requests in turn, from 64 clients: with pauses between them, and without."""
    if find_spec("uvicorn") is None:
        return
    for scheme in stores.schemes:
        if scheme == "leveldb":
            continue  # one process at a time: the stub reads its answers there
        url = stores.url(scheme)
        for kind, cache in (("", {}), (" with cache", {"BENCHMARK_CACHE": "1"})):
            with _server(url, **cache) as vault, _server(url, **cache, BENCHMARK_STUB="1") as stub:
                for pause, load in (
                    (_PAUSE_SECONDS, f"{CLIENTS / _PAUSE_SECONDS:.0f} requests/s"),
                    (0.0, "no pause"),
                ):
                    yield Comparison(
                        f"{scheme}: loop's delay, {CLIENTS} clients, {load}: vault{kind} / stub",
                        _delay(vault, pause), _delay(stub, pause), _MOST, calls=1, rounds=30,
                    )  # fmt: skip


@contextmanager
def _server(url: str, **environment: str) -> Iterator[Path]:
    """Answers the socket of a server on that vault."""
    with TemporaryDirectory(prefix="fusion-store-") as folder:
        socket = Path(folder) / "socket"
        command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.loop_server:make"]
        options = ["--uds", str(socket), "--log-level", "error"]
        environment = {**os.environ, "BENCHMARK_VAULT": url, **environment}
        server = subprocess.Popen([*command, *options], env=environment)  # noqa: S603 - all of it is from here
        try:
            while not socket.exists():
                if server.poll() is not None:
                    raise SystemExit("the server didn't start")
                time.sleep(0.05)
            yield socket
        finally:
            server.terminate()
            server.wait()


def _delay(server: Path, pause: float) -> Work:
    """Loads a server for a while; what it answers is the loop's mean delay, so many times."""
    return lambda count: round(count * statistics.mean(asyncio.run(_load(server, pause))))


async def _load(server: Path, pause: float) -> list[int]:
    async with asyncio.TaskGroup() as clients:
        connections = [await _Connection.open(server, number) for number in range(CLIENTS)]
        await connections[0].get(DELAYS)
        until = time.monotonic() + _SECONDS
        for connection in connections:
            clients.create_task(_keep_asking(connection, until, pause))
    delays: list[int] = json.loads(await connections[0].get(DELAYS))
    for connection in connections:
        connection.writer.close()
    return delays


async def _keep_asking(connection: _Connection, until: float, pause: float) -> None:
    await asyncio.sleep(random.uniform(0, pause))  # noqa: S311
    while time.monotonic() < until:
        began = time.monotonic()
        await connection.get("/")
        if pause:
            await asyncio.sleep(max(0, began + pause - time.monotonic()))


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    token: str

    @classmethod
    async def open(cls, server: Path, number: int) -> Self:
        return cls(*await asyncio.open_unix_connection(server), tenants.api_token(number))

    async def get(self, path: str) -> bytes:
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
        if " 200 " not in head[0]:
            raise SystemExit(f"the server answered {head[0]}")
        length = next(line for line in head if line.startswith("content-length:"))
        return await self.reader.readexactly(int(length.partition(":")[2]))
