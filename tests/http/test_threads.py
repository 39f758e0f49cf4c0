"""The threads that wait for the store, and the process they are in."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import httpx2
import pytest

from fusion_store import APITokenMetadata, TokenRepository
from fusion_store.http._threads import StoreThreads
from tests.http.applications import Serving

HANGING = """
import asyncio, time
from fusion_store import Unavailable
from fusion_store.http._threads import StoreThreads
threads = StoreThreads(0.05)
call = lambda: time.sleep(100)
try: {call}
except Unavailable: print("given up")
"""

FORKING = """
import os, signal
from fusion_store.http._threads import StoreThreads
threads = StoreThreads(5)
assert threads.wait(os.getpid) == os.getpid()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(threads.wait(os.getpid) != os.getpid())
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run(code: str) -> str:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


@pytest.mark.parametrize("call", ["threads.wait(call)", "asyncio.run(threads.run(call))"])
def test_a_process_ends_although_a_call_hangs(call: str) -> None:
    assert run(HANGING.format(call=call)) == "given up\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    run(FORKING)


@pytest.mark.parametrize("store_timeout", [None, 60])
def test_a_store_that_times_out_by_itself_is_503(
    serving: Serving, vault: TokenRepository, monkeypatch: pytest.MonkeyPatch, store_timeout: float | None
) -> None:
    def time_out(token: str) -> APITokenMetadata | None:
        raise TimeoutError("of the driver")

    monkeypatch.setattr(vault, "validate_api_token", time_out)
    with serving(vault, store_timeout=store_timeout) as server:
        answer = httpx2.get(f"http://{server}/", headers={"authorization": "Bearer token"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_its_threads_end_with_it() -> None:
    barrier = threading.Barrier(4)

    def worker() -> threading.Thread:
        barrier.wait(30)
        return threading.current_thread()

    async def at_a_time(threads: StoreThreads) -> list[threading.Thread]:
        return await asyncio.gather(*(threads.run(worker) for _ in range(4)))

    workers = asyncio.run(at_a_time(StoreThreads(60)))
    assert len(set(workers)) == 4
    for thread in workers:
        thread.join(30)
        assert not thread.is_alive()
