"""What one call costs in things that can be counted, free of noise.

Statements are those that SQLite's trace sees; round trips are counted by a proxy before the server; fsyncs by strace,
where that is installed; seals are calls of the ciphers.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet
from sqlalchemy import event, make_url
from sqlalchemy.pool import Pool

from benchmarks import tenants
from benchmarks.measuring import Observation
from benchmarks.stores import Stores
from fusion_store import TokenRepository, get_repository

_CALLS: Final = 20
_DELETED: Final = 100
"""The first of the tenants to be deleted."""
_MOST_FSYNCS: Final = 1.2
"""One, but for what LevelDB syncs in its own time."""

Operation = Callable[[TokenRepository, int], object]
"""One call; the number is another one each time."""

_READS: Final[dict[str, Operation]] = {
    "validate, uncached": lambda vault, number: vault.validate_api_token(tenants.api_token(number)),
    "get OAuth token": lambda vault, number: vault.get_oauth_token(tenants.tenant_hash(number), tenants.SERVICE),
    "page of 100": lambda vault, _: vault.list_api_tokens(),
    "find by prefix": lambda vault, number: vault.find_api_tokens(tenants.api_token(number)[:8]),
}
_WRITES: Final[dict[str, Operation]] = {
    "add": lambda vault, _: vault.add_api_token(),
    "store OAuth token": lambda vault, number: vault.store_oauth_token(
        tenants.tenant_hash(number), tenants.SERVICE, tenants.oauth_token(number)
    ),
    "delete a tenant": lambda vault, number: vault.delete_tenant(tenants.tenant_hash(_DELETED + number)),
}
_OPERATIONS: Final = _READS | _WRITES
_MOST_ROUND_TRIPS: Final = {("postgresql", "validate, uncached"): 1}


def counts(stores: Stores) -> Iterator[Observation]:
    """Statements, round trips, fsyncs and seals per call."""
    if "sqlite" in stores.schemes:
        url = stores.url("sqlite")
        for name in _OPERATIONS:
            yield Observation(f"sqlite: {name}", "statements", partial(_statements, url, name))
    for scheme in ("postgresql", "mariadb"):
        if scheme in stores.schemes:
            url = stores.url(scheme)
            for name in _OPERATIONS:
                most = _MOST_ROUND_TRIPS.get((scheme, name))
                yield Observation(f"{scheme}: {name}", "round trips", partial(_round_trips, url, name), most)
    if shutil.which("strace"):
        for scheme in ("leveldb", "sqlite"):
            if scheme in stores.schemes:
                url = stores.url(scheme)
                for name in _WRITES:
                    yield Observation(f"{scheme}: {name}", "fsyncs", partial(_fsyncs, url, name), _MOST_FSYNCS)
    for name in ("store OAuth token", "get OAuth token"):
        yield Observation(f"Fernet: {name}", "seals or openings", partial(_seals, name), 1)


def _called(vault: TokenRepository, name: str, first: int = 0, calls: int = _CALLS) -> None:
    for number in range(first, first + calls):
        _OPERATIONS[name](vault, number)


def _statements(url: str, name: str) -> float:
    seen: list[str] = []

    def watch(connection: Any, _: object) -> None:
        connection.set_trace_callback(lambda text: None if text.startswith("--") else seen.append(text))

    event.listen(Pool, "connect", watch)
    try:
        with get_repository(url) as vault:
            _called(vault, name, calls=1)
            seen.clear()
            _called(vault, name, _CALLS)
            return len(seen) / _CALLS
    finally:
        event.remove(Pool, "connect", watch)


def _round_trips(url: str, name: str) -> float:
    parsed = make_url(url)
    with _Proxy((parsed.host or "", parsed.port or {"postgresql": 5432}.get(parsed.drivername, 3306))) as proxy:
        behind = parsed.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        with get_repository(behind) as vault:
            _called(vault, name)
            before = proxy.round_trips
            _called(vault, name, _CALLS)
            return (proxy.round_trips - before) / _CALLS


class _Proxy:
    """Hands on what it gets; a round trip begins whenever the client speaks after the server did."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.round_trips = 0

    def __enter__(self) -> _Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            speaks = ["server"]
            threading.Thread(target=self._hand_on, args=(client, server, speaks, "client"), daemon=True).start()
            threading.Thread(target=self._hand_on, args=(server, client, speaks, "server"), daemon=True).start()

    def _hand_on(self, here: socket.socket, there: socket.socket, speaks: list[str], who: str) -> None:
        with here, there:
            try:
                while data := here.recv(65536):
                    if who == "client" and speaks[0] == "server":
                        self.round_trips += 1
                    speaks[0] = who
                    there.sendall(data)
            except OSError:
                return


def _fsyncs(url: str, name: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "strace")
        command = ["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(report)]
        command += [sys.executable, "-m", "benchmarks.counting", url, name]
        subprocess.run(command, check=True)  # noqa: S603
        between = report.read_text().split("EBADF")[1]
    return len(re.findall(r"f(?:data)?sync\(\d{1,4}\b", between)) / _CALLS


@contextmanager
def _counted_ciphers() -> Iterator[list[str]]:
    calls: list[str] = []
    originals = {name: getattr(Fernet, name) for name in ("encrypt", "decrypt")}

    def counted(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(name)
            return originals[name](*arguments)

        return call

    for name in originals:
        setattr(Fernet, name, counted(name))
    try:
        yield calls
    finally:
        for name, original in originals.items():
            setattr(Fernet, name, original)


def _seals(name: str) -> float:
    with (
        _counted_ciphers() as calls,
        get_repository("memory://", encryption_keys=[Fernet.generate_key().decode()]) as vault,
    ):
        vault.import_records(tenants.records(_CALLS))
        calls.clear()
        _called(vault, name)
        return len(calls) / _CALLS


def _mark() -> None:
    """Seen by strace as a failure."""
    with suppress(OSError):
        os.fsync(99_999)


def _main() -> None:
    url, name = sys.argv[1:]

    with get_repository(url) as vault:
        _called(vault, name, 2 * _CALLS, 1)
        _mark()
        _called(vault, name, 3 * _CALLS)
        _mark()


if __name__ == "__main__":
    _main()
