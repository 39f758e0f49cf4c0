"""After a fork the child begins with nothing in memory, and watches by itself what others revoke."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")

PRELUDE = """
import os, signal, sys, threading
from fusion_store import get_repository

def watchers():
    return [thread.name for thread in threading.enumerate()].count("fusion-store-cache")

def fork():
    child = os.fork()
    if not child:
        signal.alarm(30)
    return child

def join(child):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def run(code: str, folder: Path) -> None:
    arguments = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + code]
    subprocess.run([*arguments, f"sqlite:///{folder}/vault.db"], check=True, timeout=100)


def test_a_forked_child_begins_anew(tmp_path: Path) -> None:
    run(
        """
vault = get_repository(sys.argv[1], cache=True)
issued = vault.add_api_token("forked")
assert vault.validate_api_token(issued.token) and vault.recall_api_token(issued.token)
ready, done = os.pipe(), os.pipe()
child = fork()
if not child:
    assert vault.recall_api_token(issued.token) is None and watchers() == 0
    assert vault.validate_api_token(issued.token) and vault.recall_api_token(issued.token)
    assert watchers() == 1
    os.write(ready[1], b"!")
    os.read(done[0], 1)
    while vault.validate_api_token(issued.token):
        pass
    vault.close()
    assert watchers() == 0
    os._exit(0)
os.close(ready[1])
assert os.read(ready[0], 1)
assert vault.delete_api_token(issued.hash) and vault.validate_api_token(issued.token) is None
os.write(done[1], b"!")
join(child)
further = vault.add_api_token()
assert vault.validate_api_token(further.token) and vault.recall_api_token(further.token)
vault.close()
""",
        tmp_path,
    )


def test_a_fork_takes_no_lock_of_the_thread_that_looks_along(tmp_path: Path) -> None:
    run(
        """
for _ in range(100):
    vault = get_repository(sys.argv[1], cache=True)
    issued = vault.add_api_token()
    assert vault.validate_api_token(issued.token)
    child = fork()
    if not child:
        os._exit(0 if vault.validate_api_token(issued.token) else 1)
    join(child)
    vault.close()
""",
        tmp_path,
    )


def test_a_fork_takes_no_lock_of_a_thread_that_counts_a_miss(tmp_path: Path) -> None:
    run(
        """
counting, go_on = threading.Event(), threading.Event()

class Slow(int):
    def __add__(self, other):
        counting.set()
        go_on.wait()
        return int(self) + other

vault = get_repository(sys.argv[1], cache=True)
issued = vault.add_api_token()
vault.misses = Slow()
thread = threading.Thread(target=vault.validate_api_token, args=("unknown",), daemon=True)
thread.start()
counting.wait()
child = fork()
if not child:
    vault.misses = 0
    os._exit(0 if vault.validate_api_token(issued.token) and vault.misses == 1 else 1)
join(child)
go_on.set()
thread.join()
assert vault.misses == 1
vault.close()
""",
        tmp_path,
    )
