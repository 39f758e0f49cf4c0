from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.model.surroundings import MEMORY


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder, in memory where that can be."""
    with TemporaryDirectory(prefix="fusion-store-model-", dir=MEMORY) as folder:
        yield Path(folder)
