"""However many inputs were read, nothing of them is left in memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fusion_store import FusionStoreError, get_repository
from fusion_store.http import BearerAuthWSGI
from fusion_store.importing import plan_import
from fusion_store.layers import Keyring, read_key_file
from tests.fuzz import test_bolt, test_files, test_headers
from tests.fuzz.inputs import MADE_UP, Stopwatch
from tests.model.surroundings import EXAMPLES

ALLOWED_BYTES = 64 << 10


def try_dump(place: Path, content: bytes) -> None:
    (place / "made-up.dump").write_bytes(content)
    test_files.restore(place / "made-up.dump", Stopwatch())


def try_bolt_file(place: Path, content: bytes) -> None:
    (place / "altered.db").write_bytes(content)
    with suppress(FusionStoreError):
        plan_import(None, place / "altered.db")


def try_key_file(place: Path, content: bytes) -> None:
    (place / "keys").touch(mode=0o600)
    (place / "keys").write_bytes(content)
    with suppress(FusionStoreError):
        Keyring(read_key_file(place / "keys"))


def try_url(_: Path, url: str) -> None:
    with suppress(FusionStoreError):
        get_repository(url, create=False).close()


def try_header(_: Path, value: bytes) -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": ""}
    environ["HTTP_AUTHORIZATION"] = value.decode("latin-1")
    with get_repository("memory://") as vault:
        list(BearerAuthWSGI(lambda *_: [], vault)(environ, lambda *_: lambda _: None))


READERS: dict[str, tuple[Callable[[Path, Any], None], SearchStrategy[Any]]] = {
    "dump": (try_dump, st.builds(test_files.signed, st.lists(test_files.records, max_size=4), st.integers(0, 4))),
    "bolt": (try_bolt_file, st.builds(test_bolt.altered, test_bolt.names, test_bolt.anywhere)),
    "keys": (try_key_file, st.lists(test_files.key_lines, max_size=4).map(b"\n".join)),
    "url": (try_url, test_files.urls.filter(lambda url: not url.startswith(("my", "maria", "postgres")))),
    "header": (try_header, test_headers.values),
}


def made_up(strategy: SearchStrategy[Any], count: int) -> list[Any]:
    found: list[Any] = []

    @settings(MADE_UP, max_examples=count)
    @given(strategy)
    def note(drawn: Any) -> None:
        found.append(drawn)

    note()
    return found


@pytest.mark.parametrize("kind", READERS)
def test_nothing_is_left_of_inputs(place: Path, kind: str) -> None:
    read, strategy = READERS[kind]
    inputs = made_up(strategy, max(200, EXAMPLES))
    tracemalloc.start()
    try:
        held = []
        # The first half fills what is kept on purpose.
        for half in (inputs[: len(inputs) // 2], inputs[len(inputs) // 2 :]):
            for each in half:
                read(place, each)
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    print(f"{held[1] - held[0]} bytes more after {len(inputs)} inputs than after half of them")  # noqa: T201 - a figure
    assert held[1] - held[0] < ALLOWED_BYTES
