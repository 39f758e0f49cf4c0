"""One handle at a time: in this process, and among all."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_store import ConfigError, CorruptStore, StoreLocked
from tests.leveldb.conftest import Opener, Runner

pytest.importorskip("plyvel")

Starter = Callable[[str], "subprocess.Popen[str]"]

HOLD = """
import sys
from fusion_store_leveldb import LevelDBTokenRepository
repository = LevelDBTokenRepository(sys.argv[1], lock_timeout=0)
print("open", flush=True)
sys.stdin.readline()
repository.close()
print("closed", flush=True)
"""

TRY = """
import sys
from fusion_store import StoreLocked
from fusion_store_leveldb import LevelDBTokenRepository
try:
    LevelDBTokenRepository(sys.argv[1], lock_timeout=0).close()
    print("opened")
except StoreLocked as error:
    print(error)
"""


def hold(start: Starter) -> subprocess.Popen[str]:
    process = start(HOLD)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_second_spelling_is_refused_at_once_and_harms_nothing(folder: Path, open_store: Opener, run: Runner) -> None:
    first = open_store()
    link = folder.with_name("link")
    link.symlink_to(folder)
    for spelling in (folder, link, folder / ".." / folder.name, Path(os.path.relpath(folder))):
        began = time.monotonic()
        with pytest.raises(StoreLocked):
            open_store(spelling, lock_timeout=30)
        assert time.monotonic() - began < 5

    first.add_api_token()
    assert str(os.getpid()) in run(TRY)


def test_the_holder_is_named_with_what_to_do(open_store: Opener, start: Starter) -> None:
    holder = hold(start)
    with pytest.raises(StoreLocked) as caught:
        open_store()
    assert f"process {holder.pid} on host {socket.gethostname()}" in str(caught.value)
    assert "SQLite" in str(caught.value)
    assert caught.value.retryable


def test_a_store_is_waited_for(open_store: Opener, start: Starter) -> None:
    holder = hold(start)
    assert holder.stdin is not None
    threading.Timer(0.3, holder.stdin.close).start()
    with open_store(lock_timeout=30) as repository:
        assert repository.stats().tenants == 0


def test_waiting_ends_after_the_timeout(open_store: Opener, start: Starter) -> None:
    hold(start)
    began = time.monotonic()
    with pytest.raises(StoreLocked):
        open_store(lock_timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 5


def test_a_killed_holder_holds_nothing(open_store: Opener, start: Starter) -> None:
    holder = hold(start)
    holder.kill()
    holder.wait()
    assert open_store().stats().tenants == 0


def test_copying_the_folder_does_not_drop_the_lock(folder: Path, open_store: Opener, run: Runner) -> None:
    repository = open_store()
    shutil.copytree(folder, folder.with_name("copy"))
    assert "process" in run(TRY)
    repository.add_api_token()


def test_a_refused_store_is_not_touched(folder: Path, open_store: Opener, run: Runner) -> None:
    open_store()
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())}
    run(TRY)
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())} == before


def test_a_closed_store_is_free_for_all(open_store: Opener, run: Runner) -> None:
    open_store().close()
    assert run(TRY) == "opened"
    open_store().close()
    open_store()


def test_an_opening_that_failed_leaves_the_store_free(folder: Path, open_store: Opener, run: Runner) -> None:
    open_store().close()
    current = (folder / "CURRENT").read_bytes()
    (folder / "CURRENT").write_bytes(b"damaged")
    with pytest.raises(CorruptStore) as caught:
        open_store()
    (folder / "CURRENT").write_bytes(current)
    assert run(TRY) == "opened"
    open_store()
    # What was raised holds on to what was half open.
    assert caught.value.__traceback__ is not None


def test_a_forgotten_repository_gives_the_store_free(folder: Path, open_store: Opener) -> None:
    from fusion_store_leveldb import LevelDBTokenRepository

    repository = LevelDBTokenRepository(folder)
    repository.add_api_token()
    del repository
    assert open_store().stats().api_tokens == 1


def test_threads_that_open_one_store_at_once_get_one_handle(folder: Path) -> None:
    from fusion_store_leveldb import LevelDBTokenRepository

    opened: list[LevelDBTokenRepository] = []
    refused = []
    together = threading.Barrier(8)

    def opens() -> None:
        together.wait()
        try:
            opened.append(LevelDBTokenRepository(folder, lock_timeout=0))
        except (StoreLocked, ConfigError) as error:
            refused.append(error)

    threads = [threading.Thread(target=opens) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    assert {type(error) for error in refused} == {StoreLocked}
    opened[0].close()
