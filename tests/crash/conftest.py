from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.crash.operations import Facts, furnish
from tests.crash.stores import AUDITED, KINDS, Store
from tests.crash.surroundings import MEMORY, can_mount, can_trace
from tests.crash.trials import Worker

collect_ignore = [
    *["test_system_calls.py"] * (not can_trace()),
    *["test_full_disk.py"] * (not can_mount()),
]


@pytest.fixture(scope="session")
def places() -> Iterator[Path]:
    """A folder for everything that these tests write."""
    with TemporaryDirectory(prefix="fusion-store-crash-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def place(places: Path) -> Iterator[Path]:
    """An empty folder."""
    with TemporaryDirectory(dir=places) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def worker(places: Path) -> Iterator[Worker]:
    with Worker(places / "strace.log") as started:
        yield started


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def templates(places: Path) -> dict[str, tuple[Store, Facts]]:
    """A furnished store of each kind, which nobody has open."""
    made = {}
    for kind in (*KINDS, *AUDITED):
        store = Store(kind, places / kind)
        store.folder.mkdir()
        with store.open(create=True) as vault:
            made[kind] = store, furnish(vault)
    return made


@pytest.fixture
def copy(templates: dict[str, tuple[Store, Facts]], place: Path) -> Callable[[str], tuple[Store, Facts]]:
    """Makes a new copy of the furnished store of a kind."""
    numbers = count()

    def copies(kind: str) -> tuple[Store, Facts]:
        template, facts = templates[kind]
        return template.copy_to(place / f"{next(numbers)}"), facts

    return copies
