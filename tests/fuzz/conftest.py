from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from tests.model.surroundings import ANEW, EXAMPLES, MEMORY

settings.register_profile(
    "fuzz",
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not ANEW,
    suppress_health_check=list(HealthCheck),
)


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
