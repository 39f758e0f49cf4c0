"""A provider, and a strategy's surroundings with a clock that only moves when somebody sleeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.auth.provider import Provider, running_provider
from tests.auth.strategies.surroundings import Surroundings


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def surroundings() -> Surroundings:
    return Surroundings()
