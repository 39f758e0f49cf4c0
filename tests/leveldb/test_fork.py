"""What a forked child may do, and what it must leave alone."""

from __future__ import annotations

import pytest

from tests.leveldb.conftest import Runner

pytest.importorskip("plyvel")

PRELUDE = """
import gc, os, sys, threading, traceback
from fusion_store import ForkedHandle, StoreLocked
from fusion_store_leveldb import LevelDBTokenRepository

folder = sys.argv[1]

def fork(work):
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child

def join(child):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def refused(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError("not refused")

repository = LevelDBTokenRepository(folder, lock_timeout=0)
token = repository.add_api_token()
"""


def test_an_inherited_repository_is_refused_and_its_lock_stays_the_parents(run: Runner) -> None:
    run(
        PRELUDE
        + """
def child():
    refused(ForkedHandle, repository.stats)
    refused(ForkedHandle, lambda: repository.validate_api_token(token.token))
    repository.close()
    refused(StoreLocked, lambda: LevelDBTokenRepository(folder, lock_timeout=0))

join(fork(child))
refused(StoreLocked, lambda: LevelDBTokenRepository(folder, lock_timeout=0))
child = os.fork()
if not child:
    os.execv(sys.executable, [sys.executable, "-c", '''
import sys
from fusion_store import StoreLocked
from fusion_store_leveldb import LevelDBTokenRepository
try:
    LevelDBTokenRepository(sys.argv[1], lock_timeout=0)
except StoreLocked as error:
    # Not LevelDB's own lock, the last resort.
    sys.exit(f"process {sys.argv[2]} " not in str(error))
sys.exit(2)
''', folder, str(os.getppid())])
join(child)
repository.add_api_token()
repository.close()
"""
    )


def test_a_child_that_lives_on_does_not_keep_the_store_locked(run: Runner) -> None:
    run(
        PRELUDE
        + """
wait, go = os.pipe()

def child():
    os.close(go)
    os.read(wait, 1)

sleeper = fork(child)
# A child made without Python's hooks keeps the descriptor too.
import ctypes
deaf = ctypes.CDLL(None).fork()
if not deaf:
    os.close(go)
    os.read(wait, 1)
    os._exit(0)
repository.close()
join(fork(lambda: LevelDBTokenRepository(folder, lock_timeout=0).close()))
LevelDBTokenRepository(folder, lock_timeout=0).close()
os.close(go)
join(sleeper)
join(deaf)
"""
    )


def test_a_child_opens_the_store_anew_once_the_parent_has_closed_it(run: Runner) -> None:
    run(
        PRELUDE
        + """
wait, go = os.pipe()

def child():
    os.close(go)
    os.read(wait, 1)
    with LevelDBTokenRepository(folder, lock_timeout=0) as anew:
        assert anew.get_api_token(token.hash)
        anew.add_api_token()
        refused(ForkedHandle, repository.stats)
        refused(StoreLocked, lambda: LevelDBTokenRepository(folder, lock_timeout=0))

opener = fork(child)
os.close(wait)
repository.close()
os.close(go)
join(opener)
with LevelDBTokenRepository(folder, lock_timeout=0) as anew:
    assert anew.stats().api_tokens == 2
"""
    )


def test_a_child_that_has_lost_the_compacting_thread_is_refused_instead_of_hanging(run: Runner) -> None:
    run(
        PRELUDE
        + """
repository._handle._session._source.compact_range()
repository.close()

def child():
    for _ in range(2):
        refused(ForkedHandle, lambda: LevelDBTokenRepository(folder, lock_timeout=0))

join(fork(child))
LevelDBTokenRepository(folder, lock_timeout=0).close()
"""
    )


def test_a_child_never_frees_the_database_it_inherited(run: Runner) -> None:
    answer = run(
        PRELUDE
        + """
class Canary:
    def __del__(self):
        os.write(1, b"freed")

session = repository._handle._session
database, session._inherited.database = session._inherited.database, Canary()
child = os.fork()
if not child:
    session._inherited.database = None
    del repository, session
    gc.collect()
    sys.exit(0)
join(child)
# Only the child is asked about.
import ctypes
ctypes.pythonapi.Py_IncRef(ctypes.py_object(session._inherited.database))
repository.close()
"""
    )
    assert answer == ""
