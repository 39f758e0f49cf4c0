"""The files a store lies in."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from fusion_store.doctor._finding import Finding

_EXAMPLES: Final = 5


def open_files(paths: Iterable[Path]) -> Iterator[Finding]:
    """Files and folders that others than their owner may read or write; those that are gone by now are passed over."""
    lax = [path.name for path in paths if _mode(path) & 0o077]
    if lax:
        yield Finding(
            "file_modes",
            True,
            len(lax),
            f"files that others than their owner may open: {len(lax)}",
            "chmod 600 the files, 700 the folder, and find out what widened them",
            tuple(lax[:_EXAMPLES]),
        )


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return 0


def free_bytes(paths: Iterable[Path]) -> int | None:
    """What is left on the disk that they lie on; None when there are none."""
    for path in paths:
        with suppress(FileNotFoundError):
            return shutil.disk_usage(path).free
    return None
