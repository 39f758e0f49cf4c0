"""Threads that wait for the store, so that a request needn't wait for longer than it wants to."""

from __future__ import annotations

import asyncio
import math
import os
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Any, Final, Generic, TypeVar

from fusion_store._async import DEFAULT_THREADS
from fusion_store._errors import ConfigError, Unavailable

MOST_WAITING: Final = 1024
"""How many calls may be under way or wait for a thread."""

T = TypeVar("T")


class StoreThreads:
    """Runs calls in up to 16 threads, and waits for each ``seconds`` at most; None: for as long as it takes.

    ``Unavailable`` when a call takes longer, or times out by itself, and at once when too many are under way already.
    One that hangs keeps its thread until it ends, or the process does; those behind it that nobody waits for any more
    are left out.
    """

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and not (type(seconds) in (int, float) and 0 < seconds < math.inf):
            raise ConfigError("store_timeout: must be a positive number of seconds, or None")
        self._seconds = seconds
        self._start()

    def _start(self) -> None:
        self._under_way: list[None] = []
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._starting = Lock()
        self._count = 0
        weakref.finalize(self, self._jobs.put, None).atexit = False
        self._process = os.getpid()

    async def run(self, call: Callable[[], T]) -> T:
        """What ``call`` answers; the event loop goes on meanwhile."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        job = self._submit(call)

        def settle(done: Future[T]) -> None:
            if answer.done():
                return
            if error := done.exception():
                answer.set_exception(error)
            else:
                answer.set_result(done.result())

        def hand_over(done: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle, done)

        job.future.add_done_callback(hand_over)
        try:
            async with asyncio.timeout(self._seconds):
                return await answer
        except TimeoutError:
            raise self._too_slow() from None
        finally:
            job.is_wanted = False

    def wait(self, call: Callable[[], T]) -> T:
        """What ``call`` answers; the calling thread waits."""
        try:
            if self._seconds is None:
                return call()
            job = self._submit(call)
            try:
                return job.future.result(self._seconds)
            finally:
                job.is_wanted = False
        except TimeoutError:
            raise self._too_slow() from None

    def _submit(self, call: Callable[[], T]) -> _Job[T]:
        if self._process != os.getpid():
            # A fork takes no threads along.
            self._start()
        if len(self._under_way) >= MOST_WAITING:
            raise Unavailable("too many calls wait for the store")
        with self._starting:
            if not self._idle.acquire(blocking=False) and self._count < DEFAULT_THREADS:
                # Those of a ThreadPoolExecutor would be waited for when the process ends, a hanging one for ever.
                Thread(target=_work, args=(self._jobs, self._idle), name="fusion-store-http", daemon=True).start()
                self._count += 1
        self._under_way.append(None)
        job = _Job(call, self._under_way)
        self._jobs.put(job)
        return job

    def _too_slow(self) -> Unavailable:
        limit = "" if self._seconds is None else f" within {self._seconds:g} seconds"
        return Unavailable(f"no answer from the store{limit}")


def _work(jobs: SimpleQueue[_Job[Any] | None], idle: Semaphore) -> None:
    """Run jobs, until a None says that no more will come."""
    while (job := jobs.get()) is not None:
        try:
            job.future.set_result(job.run())
        except BaseException as error:
            job.future.set_exception(error)
        del job
        idle.release()
    jobs.put(None)


class _Job(Generic[T]):
    def __init__(self, call: Callable[[], T], under_way: list[None]) -> None:
        self._call = call
        self._context = copy_context()
        self._under_way = under_way
        self.is_wanted = True
        self.future: Future[T] = Future()

    def run(self) -> T:
        try:
            if not self.is_wanted:
                raise TimeoutError
            return self._context.run(self._call)
        finally:
            self._under_way.pop()
