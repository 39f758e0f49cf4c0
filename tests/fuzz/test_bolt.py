"""BoltDB files that were altered: a plan comes out of them, or an error of ours."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from fusion_store import InvalidInput
from fusion_store.importing import plan_import
from tests.fuzz.inputs import Stopwatch, fuzzed
from tests.importing.files import SAMPLES

CONTENTS = {name: path.read_bytes() for name, path in SAMPLES.items()}
PAGE = 4096
PAGES = 24
"""Where either sample ends to hold anything, about."""

names = st.sampled_from(list(CONTENTS))
anywhere = st.lists(st.tuples(st.integers(0, PAGES * PAGE), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)
in_headers = st.lists(
    st.tuples(
        st.builds(lambda page, at: page * PAGE + at, st.integers(2, PAGES), st.integers(0, 40)),
        st.binary(min_size=1, max_size=1),
    ),
    min_size=1,
    max_size=3,
)


def altered(name: str, spots: list[tuple[int, bytes]]) -> bytes:
    content = bytearray(CONTENTS[name])
    for at, written in spots:
        content[at : at + len(written)] = written
    return bytes(content)


@fuzzed(name=names, spots=anywhere | in_headers)
def test_an_altered_file(place: Path, timed: Stopwatch, name: str, spots: list[tuple[int, bytes]]) -> None:
    path = place / "altered.db"
    path.write_bytes(altered(name, spots))
    try:
        plan = timed(lambda: plan_import(None, path))
    except InvalidInput as error:
        told = str(error)
    else:
        told = repr((plan.invalid, plan.orphans, plan.superseded))
        assert len(plan.records) < 100
    assert "sample-" not in told
