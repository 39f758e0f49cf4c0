"""What the crash tests ask of the machine, and how far they go."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

_SCALE: Final = os.environ.get("FUSION_STORE_TEST_CRASH", "1")
EVERYWHERE: Final = _SCALE == "all"
POINTS: Final = sys.maxsize if EVERYWHERE else int(_SCALE)
"""How many points of an operation are tried, per fault and store: ``FUSION_STORE_TEST_CRASH``, a number or ``all``."""

SEED: Final = int(os.environ.get("FUSION_STORE_TEST_SEED", random.randrange(1 << 32)))
"""What chance begins with; a failing test names it, and ``FUSION_STORE_TEST_SEED`` gives it back."""

MEMORY: Final = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
"""A file system in memory, where there is one: a kill takes nothing from the page cache, and an fsync costs nothing."""

_PATIENCE_SECONDS: Final = 100

T = TypeVar("T")


def chance(*name: object) -> random.Random:
    """Chance of its own for whoever has that name, the same whenever the seed is."""
    return random.Random(repr((SEED, *name)))


def some(points: Sequence[T], choose: random.Random, limit: int = POINTS) -> list[T]:
    """As many of the points as are to be tried, in order."""
    return [points[at] for at in sorted(choose.sample(range(len(points)), min(limit, len(points))))]


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds, but not for ever."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@cache
def can_trace() -> bool:
    """Whether strace is there and may trace a process that isn't its child."""
    if shutil.which("strace") is None:
        return False
    with subprocess.Popen(["sleep", "30"]) as process:
        try:
            tracer = ["strace", "-qq", "-o", os.devnull, "-p", str(process.pid)]
            with subprocess.Popen(tracer, stderr=subprocess.DEVNULL) as tracing:
                while tracing.poll() is None and _tracer_of(process.pid) == 0:
                    pass
                allowed = tracing.poll() is None
                tracing.terminate()
        finally:
            process.kill()
    return allowed


def _tracer_of(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("TracerPid:"):
            return int(line.split()[1])
    return 0


@cache
def can_mount() -> bool:
    """Whether a small file system can be mounted."""
    with TemporaryDirectory() as folder:
        if not mount(Path(folder), "64k"):
            return False
        unmount(Path(folder))
    return True


def mount(folder: Path, size: str) -> bool:
    """Mount a file system of that size; false where that isn't allowed."""
    if shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "fusion-store-test", str(folder)]
    return (
        shutil.which("mount") is not None and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def unmount(folder: Path) -> None:
    """The end of ``mount``."""
    subprocess.run(["umount", str(folder)], check=True)
