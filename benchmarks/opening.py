"""Opening stores, and importing the package."""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import tenants
from benchmarks.measuring import Comparison, Observation
from benchmarks.stores import Stores
from fusion_store import get_repository
from fusion_store.backend import Kind, Place, SecretRecord
from fusion_store.backend._payloads import pack_oauth

_CRASHES: Final = 7
_LOGGED: Final = 3_900_000
"""Bytes written before each crash: as much as LevelDB's write buffer leaves to be replayed, nearly."""


def opening(stores: Stores) -> Iterator[Comparison | Observation]:
    """Current stores, closed well and after a crash."""
    if "leveldb" in stores.schemes:
        url = stores.url("leveldb")
        yield Comparison(
            "leveldb: open / raw open", _opens(lambda: get_repository(url)), _opens(_raw_leveldb(url)), 2,
            calls=1, rounds=50,
        )  # fmt: skip
        yield Observation(
            "leveldb: open after a crash",
            "ms",
            partial(_after_crash, url, stores.folder, crashes=2 if stores.quick else _CRASHES),
            50,
        )
    if "sqlite" in stores.schemes:
        url = stores.url("sqlite")
        path = url.removeprefix("sqlite:///")
        yield Comparison(
            "sqlite: open / raw open", _opens(lambda: get_repository(url)), _opens(lambda: _raw_sqlite(path)),
            most=2000, calls=1, rounds=150,
        )  # fmt: skip


def importing(stores: Stores) -> Iterator[Observation]:
    """``import fusion_store``, without the standard library's modules."""
    yield Observation(
        "import fusion_store, beyond the standard library",
        "ms",
        partial(_import_milliseconds, 5 if stores.quick else 20),
        40,
    )


def _opens(open_one: Callable[[], Any]) -> Callable[[int], int]:
    def work(count: int) -> int:
        total = 0
        for _ in range(count):
            began = time.perf_counter_ns()
            opened = open_one()
            total += time.perf_counter_ns() - began
            opened.close()
        return total

    return work


def _raw_leveldb(url: str) -> Callable[[], Any]:
    import plyvel

    path = url.removeprefix("leveldb:///")
    return lambda: plyvel.DB(path, bloom_filter_bits=10, write_buffer_size=4 << 20, max_open_files=4096)


def _raw_sqlite(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("SELECT count(*) FROM marks").fetchone()
    return connection


def _after_crash(url: str, folder: Path, *, crashes: int) -> float:
    """Milliseconds, the median of some: a copy of the store, whose process dies with a full write buffer."""
    copy = folder / "crashed"
    shutil.copytree(url.removeprefix("leveldb:///"), copy)
    times = []
    try:
        for _ in range(crashes):
            subprocess.run([sys.executable, "-c", _CRASH, f"leveldb:///{copy}", str(_LOGGED)], check=True)  # noqa: S603
            began = time.perf_counter()
            with get_repository(f"leveldb:///{copy}"):
                times.append((time.perf_counter() - began) * 1000)
    finally:
        shutil.rmtree(copy)
    return statistics.median(times)


_CRASH: Final = """
import os, sys
from benchmarks import opening
opening.crash(sys.argv[1], int(sys.argv[2]))
"""


def crash(url: str, size: int) -> None:
    """Fill the write buffer, in another process, and die."""
    created_at = tenants.created_at(0)
    places = [Place(tenants.tenant_hash(0), Kind.OAUTH, f"{os.getpid()} {number}") for number in range(size // 2000)]
    packed = [pack_oauth(place.binding(None), tenants.oauth_token(number)) for number, place in enumerate(places)]
    get_repository(url).import_records(
        SecretRecord(place, payload, None, created_at, created_at, 1)
        for place, payload in zip(places, packed, strict=True)
    )
    os._exit(0)


def _import_milliseconds(runs: int) -> float:
    return statistics.median(_import_once() for _ in range(runs))


def _import_once() -> float:
    command = [sys.executable, "-X", "importtime", "-c", "import fusion_store"]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stderr  # noqa: S603
    total = 0
    for line in report.splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        module = name.strip().partition(".")[0]
        if own.strip().isdigit() and module not in sys.stdlib_module_names:
            total += int(own)
    return total / 1000
