"""The caller's context goes along to the store."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from fusion_store.http._threads import StoreThreads

_WHO = ContextVar("_WHO", default="nobody")


def test_a_store_call_runs_in_the_context_of_its_caller() -> None:
    threads = StoreThreads(60)
    _WHO.set("a caller")
    assert threads.wait(_WHO.get) == "a caller"
    assert asyncio.run(threads.run(_WHO.get)) == "a caller"
