"""Damage to any file of a store is reported, and never read as something that wasn't stored."""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.crash.damage import History, damage, examine, furnish
from tests.crash.stores import AUDITED, KINDS, Store
from tests.crash.surroundings import EVERYWHERE, POINTS, SEED, chance

TRIALS = 60 if EVERYWHERE else 4 * POINTS

# What was written last stands in a log. One that breaks off is what a crash leaves, so that its end can be missing
# without a sign: the store is then as it was before.
_is_log = re.compile(r".*-wal|\d+\.log|MANIFEST-\d+").fullmatch


@pytest.fixture(scope="module")
def reader() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as started:
        yield started


@pytest.fixture
def furnished(kind: str, place: Path) -> tuple[Store, History]:
    """A copy of a store in use, with tables as well as a log."""
    store, history = Store(kind, place / "original"), History()
    store.folder.mkdir()
    for name in ("first", "second", "third"):
        with store.open(create=True) as vault:
            furnish(vault, history, name)
            copied = store.copy_to(place / name)
    return copied, history


@pytest.mark.parametrize("kind", [*KINDS, *AUDITED])
def test_damage_is_reported_and_nothing_is_read_that_was_not_stored(
    furnished: tuple[Store, History], reader: ProcessPoolExecutor, place: Path
) -> None:
    store, history = furnished
    for file in store.files():
        seen = Counter[str]()
        for number in range(TRIALS):
            damaged = store.copy_to(place / "damaged")
            target = damaged.folder / file.relative_to(store.folder)
            done = damage(target, chance(store.kind, file.name, number), delete=number == 0)
            verdict = reader.submit(examine, store.kind, str(damaged.folder), history).result(60)
            told = f"{file.name} {done} (seed {SEED}): {verdict}"
            log = bool(_is_log(file.name))
            assert not bool(verdict.wrong), told
            assert log or not bool(verdict.older), told
            assert log or verdict.is_reported or not bool(verdict.lost), told
            seen[verdict.kind()] += 1
            shutil.rmtree(damaged.folder)
        sys.stdout.write(f"{store.kind} {file.name}: {dict(seen)}\n")
