from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.fuzz.inputs import Stopwatch
from tests.model.surroundings import EXAMPLES, MEMORY, SEED


def _break_off(*_: Any) -> None:
    pytest.fail("a call on this input doesn't end")


@pytest.fixture
def timed() -> Iterator[Stopwatch]:
    """What a test calls the parsers through."""
    print(f"FUSION_STORE_TEST_SEED={SEED}")  # noqa: T201 - how to see it again
    before = signal.signal(signal.SIGPROF, _break_off)
    watch = Stopwatch()
    yield watch
    signal.signal(signal.SIGPROF, before)
    print(f"{EXAMPLES} inputs, the slowest call took {watch.record * 1000:.1f} ms of the processor")  # noqa: T201 - a figure


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, no_growth: None) -> Iterator[Path]:
    """An empty folder, in memory where that can be; relative paths begin there."""
    with TemporaryDirectory(prefix="fusion-store-fuzz-", dir=MEMORY) as folder:
        monkeypatch.chdir(folder)
        yield Path(folder)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def no_growth() -> Iterator[None]:
    """However many inputs were tried, no file and no thread is left."""
    threads, files = threading.active_count(), _open_files()
    yield
    assert threading.active_count() <= threads
    assert _open_files() <= files + 1
