"""Threads that wait for the store, so that a request needn't wait for longer than it wants to."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Final, Generic, TypeVar

from fusion_store._async import DEFAULT_THREADS
from fusion_store._errors import ConfigError, Unavailable

MOST_WAITING: Final = 1024
"""How many calls may be under way or wait for a thread."""

T = TypeVar("T")


class StoreThreads:
    """Runs calls in up to 16 threads, and waits for each ``seconds`` at most; None: for as long as it takes.

    ``Unavailable`` when a call takes longer, and at once when too many are under way already. One that hangs keeps its
    thread until it ends; those behind it that nobody waits for any more are left out.
    """

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and not (type(seconds) in (int, float) and 0 < seconds < math.inf):
            raise ConfigError("store_timeout: must be a positive number of seconds, or None")
        self._seconds = seconds
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._under_way: list[None] = []
        self._threads = ThreadPoolExecutor(DEFAULT_THREADS, thread_name_prefix="fusion-store-http")

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
        if self._seconds is None:
            return call()
        job = self._submit(call)
        try:
            return job.future.result(self._seconds)
        except TimeoutError:
            raise self._too_slow() from None
        finally:
            job.is_wanted = False

    def _submit(self, call: Callable[[], T]) -> _Job[T]:
        if self._process != os.getpid():
            # A fork takes no threads along.
            self._start()
        if len(self._under_way) >= MOST_WAITING:
            raise Unavailable("too many calls wait for the store")
        self._under_way.append(None)
        job = _Job(call, self._under_way)
        job.future = self._threads.submit(copy_context().run, job.run)
        return job

    def _too_slow(self) -> Unavailable:
        return Unavailable(f"no answer from the store within {self._seconds:g} seconds")


class _Job(Generic[T]):
    def __init__(self, call: Callable[[], T], under_way: list[None]) -> None:
        self._call = call
        self._under_way = under_way
        self.is_wanted = True
        self.future: Future[T]

    def run(self) -> T:
        try:
            if not self.is_wanted:
                raise TimeoutError
            return self._call()
        finally:
            self._under_way.pop()
