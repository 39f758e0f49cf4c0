"""A trail is verified while others write to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest

from fusion_store import OAuthTokenData, get_repository
from fusion_store.audit import AuditOptions, verify
from fusion_store.backend import RecordRepository
from fusion_store.testing import ManualClock


@pytest.fixture(params=["sqlite", *["leveldb"] * (find_spec("plyvel") is not None)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}:///{tmp_path}/vault"


@contextmanager
def busy(repository: RecordRepository, clock: ManualClock, tenants: list[str]) -> Iterator[None]:
    """Meanwhile records are added to every chain, and old ones purged."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            for tenant in tenants:
                repository.store_oauth_token(tenant, "github", OAuthTokenData("x"))
            clock.advance(timedelta(minutes=1))
            repository.purge_expired()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_what_is_written_or_purged_meanwhile_is_no_fault(url: str) -> None:
    clock = ManualClock()
    options = AuditOptions(keep=timedelta(minutes=5))
    with get_repository(url, clock=clock, audit=options) as repository:
        assert isinstance(repository, RecordRepository)
        tenants = [repository.add_api_token().hash for _ in range(20)]
        with busy(repository, clock, tenants):
            for _ in range(20):
                report = verify(repository)
                assert report.ok, report.faults
                checked = repository.check()
                assert checked.ok, checked.corrupt
