"""What the tests of the LevelDB backend share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fusion_store_leveldb import LevelDBTokenRepository

Opener = Callable[..., "LevelDBTokenRepository"]
Runner = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the store is to lie."""
    return tmp_path / "vault"


@pytest.fixture
def open_store(folder: Path) -> Iterator[Opener]:
    """Opens stores, by default in ``folder``, and closes them at the end."""
    from fusion_store_leveldb import LevelDBTokenRepository

    opened: list[LevelDBTokenRepository] = []

    def opens(path: Path = folder, **options: Any) -> LevelDBTokenRepository:
        options.setdefault("lock_timeout", 0)
        opened.append(LevelDBTokenRepository(path, **options))
        return opened[-1]

    yield opens
    for repository in opened:
        repository.close()


@pytest.fixture
def run(folder: Path) -> Runner:
    """Runs a script in a process of its own, with ``folder`` as its argument, and answers what it printed."""

    def runs(script: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, str(folder), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return runs


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a script in a process of its own, talked to by its standard input and output."""
    started: list[subprocess.Popen[str]] = []

    def starts(script: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield starts
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def raw(repository: LevelDBTokenRepository) -> Any:
    """The open ``plyvel.DB`` of a repository."""
    session = repository._handle._session
    assert session is not None
    return session._source


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Each file's mode, time of change and bytes."""
    return {
        path.name: (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (folder, *folder.iterdir())
    }
