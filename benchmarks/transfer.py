"""``python -m benchmarks.transfer``: what moving a large vault takes, in time and memory.

Fills a SQLite store with tenants that have an API token, an OAuth token of 1.5 KB and its counters each; then copies it
to LevelDB and back, verifies the copy, dumps the store and restores the dump, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.memory import Watch
from benchmarks.tenants import records
from fusion_store._registry import find_backend
from fusion_store.backend import PLAIN_MARK, OpenOptions, RecordRepository
from fusion_store.transfer import copy, dump, restore, verify

_FILL_BATCH: Final = 4000
_MIB: Final = 1024 * 1024


def main() -> None:
    """Measure each step in a child process, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("--tenants", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where there is room; by default the temporary directory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--step", choices=_STEPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step is not None:
        json.dump(_measured(_STEPS[arguments.step], arguments.folder), sys.stdout)
        return
    folder = Path(tempfile.mkdtemp(prefix="fusion-store-", dir=arguments.folder))
    try:
        began = time.perf_counter()
        _fill(folder, arguments.tenants)
        sys.stdout.write(f"{arguments.tenants} tenants made in {time.perf_counter() - began:.0f} s\n")
        figures = [_run(step, folder) for step in _STEPS]
    finally:
        shutil.rmtree(folder)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _run(step: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.transfer", "--step", step, "--folder", str(folder)]
    figures: dict[str, Any] = {"step": step} | json.loads(subprocess.run(command, check=True, stdout=-1).stdout)  # noqa: S603
    sys.stdout.write(
        f"{step:<28} {figures['seconds']:7.1f} s  {figures['tenants'] / figures['seconds']:7.0f} tenants/s  "
        f"own memory {figures['first_mib']:6.1f} MiB, grew by {figures['grown_mib']:6.1f} MiB  "
        f"(mapped files {figures['mapped_mib']:.0f} MiB)\n"
    )
    sys.stdout.flush()
    return figures


def _measured(step: Callable[[Path, Watch], None], folder: Path) -> dict[str, float]:
    watch = Watch()
    began = time.perf_counter()
    step(folder, watch)
    return {
        "seconds": time.perf_counter() - began,
        "tenants": watch.tenants,
        "first_mib": watch.first / _MIB,
        "grown_mib": watch.megabytes_grown(),
        "mapped_mib": watch.mapped / _MIB,
    }


def _copy(folder: Path, watch: Watch) -> None:
    with _open(f"sqlite:///{folder}/a.db") as here, _open(f"leveldb:///{folder}/b") as there:
        copy(here, there, name="a", progress=watch)


def _verify(folder: Path, watch: Watch) -> None:
    with _open(f"sqlite:///{folder}/a.db") as here, _open(f"leveldb:///{folder}/b") as there:
        assert verify(here, there, progress=watch).equal


def _copy_back(folder: Path, watch: Watch) -> None:
    with _open(f"leveldb:///{folder}/b") as here, _open(f"sqlite:///{folder}/c.db") as there:
        copy(here, there, name="b", progress=watch)


def _dump(folder: Path, watch: Watch) -> None:
    with _open(f"sqlite:///{folder}/a.db") as here:
        dump(here, folder / "a.dump", progress=watch)


def _restore(folder: Path, watch: Watch) -> None:
    with _open(f"sqlite:///{folder}/d.db") as there:
        restore(folder / "a.dump", there, progress=watch)


_STEPS: Final[dict[str, Callable[[Path, Watch], None]]] = {
    "copy-sqlite-leveldb": _copy,
    "verify-sqlite-leveldb": _verify,
    "copy-leveldb-sqlite": _copy_back,
    "dump-sqlite": _dump,
    "restore-sqlite": _restore,
}


def _open(url: str) -> RecordRepository:
    backend, parsed = find_backend(url)
    return backend.open(parsed, OpenOptions())


def _fill(folder: Path, tenants: int) -> None:
    left = records(tenants)
    with _open(f"sqlite:///{folder}/a.db") as storage:
        while batch := list(islice(left, _FILL_BATCH)):
            storage.insert_records(batch, PLAIN_MARK)


if __name__ == "__main__":
    main()
