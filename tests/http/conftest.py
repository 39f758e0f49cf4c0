from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_store import IssuedToken, TokenRepository, get_repository
from fusion_store.testing import ManualClock
from tests.http.applications import SERVING, Serving


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def vault(tmp_path: Path, clock: ManualClock) -> Iterator[TokenRepository]:
    with get_repository(f"sqlite:///{tmp_path}/vault.db", clock=clock) as repository:
        yield repository


@pytest.fixture
def ada(vault: TokenRepository) -> IssuedToken:
    return vault.add_api_token("Ada", scopes=("read",))


@pytest.fixture(params=SERVING)
def serving(request: pytest.FixtureRequest) -> Serving:
    """One of the middlewares, each test running with both."""
    return SERVING[request.param]
