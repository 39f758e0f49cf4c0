"""The reader of BoltDB files: what is sound is read, what isn't is refused."""

from __future__ import annotations

import os
import struct
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_store import InvalidInput
from fusion_store.importing._bolt import MAX_DEPTH, Bucket, read_bolt
from tests.importing.files import (
    SAMPLES,
    Tree,
    Writer,
    branch_body,
    leaf_body,
    meta_page,
    page,
)

CONTENTS = {name: path.read_bytes() for name, path in SAMPLES.items()}


def read(content: bytes) -> Bucket:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return read_bolt(file.fileno())


def file_of(*pages: bytes, root: int = 2, high: int | None = None) -> bytes:
    """A file with these pages behind its meta pages."""
    body = b"".join(pages)
    count = 2 + len(body) // 4096 if high is None else high
    return b"".join(meta_page(i, root=root, pages=count, txid=i) for i in (0, 1)) + body


def leaf(id: int, *entries: tuple[int, bytes, bytes]) -> bytes:
    return page(id, 2, len(entries), leaf_body(list(entries)))


def branch(id: int, *children: int) -> bytes:
    return page(id, 1, len(children), branch_body([(b"%08d" % child, child) for child in children]))


def damaged(content: bytes, *, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        read(content)
    assert caught.value.field == "file"


trees = st.recursive(
    st.dictionaries(st.binary(min_size=1, max_size=30), st.binary(max_size=60), max_size=8),
    lambda inner: st.dictionaries(st.binary(min_size=1, max_size=30), st.binary(max_size=600) | inner, max_size=12),
    max_leaves=30,
)


@settings(max_examples=80, deadline=None)
@given(tree=trees, page_size=st.sampled_from([1024, 4096, 16384, 65536]), fan_out=st.integers(2, 9))
def test_any_tree_is_read_as_it_was_written(tree: Tree, page_size: int, fan_out: int) -> None:
    assert read(Writer(page_size, fan_out).write(tree)) == tree


def test_values_over_many_pages_are_read() -> None:
    tree: Tree = {b"big": b"v" * 300_000, b"bucket": {b"%05d" % i: b"x" * i for i in range(2000)}}
    assert read(Writer().write(tree)) == tree
    assert read(Writer(fan_out=3).write(tree)) == tree


def test_the_newer_intact_meta_page_counts() -> None:
    pages = leaf(2, (0, b"state", b"old")), leaf(3, (0, b"state", b"new"))
    body = b"".join(pages)
    for older, newer in ((0, 1), (1, 0)):
        metas = {
            older: meta_page(older, root=2, pages=4, txid=8),
            newer: meta_page(newer, root=3, pages=4, txid=9),
        }
        assert read(metas[0] + metas[1] + body) == {b"state": b"new"}
        metas[newer] = meta_page(newer, root=3, pages=4, txid=9, broken=True)
        assert read(metas[0] + metas[1] + body) == {b"state": b"old"}
        metas[older] = meta_page(older, root=2, pages=4, txid=8, broken=True)
        damaged(metas[0] + metas[1] + body, why="neither of its meta pages")


@pytest.mark.parametrize("page_size", [1024, 4096, 65536])
def test_the_second_meta_page_is_found_without_the_first(page_size: int) -> None:
    content = Writer(page_size).write({b"k": b"v"})
    assert read(b"\0" * page_size + content[page_size:]) == {b"k": b"v"}


def test_every_bit_of_a_meta_page_is_guarded() -> None:
    sound = bytearray(CONTENTS["plan"])
    sound[4096:8192] = b"\0" * 4096
    assert read(bytes(sound))
    for at in range(16, 80):
        content = bytearray(sound)
        content[at] ^= 0x10
        with pytest.raises(InvalidInput):
            read(bytes(content))


@pytest.mark.parametrize("size", [0, 1, 512, 3000, 4095, 4097, 131072, 2**31])
def test_odd_page_sizes_are_refused(size: int) -> None:
    content = meta_page(0, root=2, pages=3, txid=1, stated_size=size) + leaf(1) + leaf(2)
    damaged(content, why="pages of")


def test_files_of_the_other_byte_order_and_of_other_versions_are_refused() -> None:
    swapped = b"".join(meta_page(i, root=2, pages=3, txid=i, order=">") for i in (0, 1)) + leaf(2)
    damaged(swapped, why="other byte order")
    damaged(meta_page(0, root=2, pages=3, txid=1, version=1) + leaf(1) + leaf(2), why="version 1")


ENTRY = (0, b"key", b"value")
BAD_TREES: dict[str, tuple[bytes, str]] = {
    "a branch above itself": (file_of(branch(2, 2)), "page 2 is reached twice"),
    "a cycle": (file_of(branch(2, 3), branch(3, 4), branch(4, 2)), "page 2 is reached twice"),
    "a page in two buckets": (
        file_of(
            leaf(2, (1, b"a", struct.pack("<QQ", 3, 0)), (1, b"b", struct.pack("<QQ", 3, 0))),
            leaf(3, ENTRY),
        ),
        "page 3 is reached twice",
    ),
    "a bucket within itself": (file_of(leaf(2, (1, b"a", struct.pack("<QQ", 2, 0)))), "page 2 is reached twice"),
    "a page under overflow": (
        # The value goes on upon page 4, and looks like a leaf there.
        file_of(branch(2, 3, 4), page(3, 2, 1, leaf_body([(0, b"k", b"v" * 4063 + leaf(4))]))),
        "page 4 is reached twice",
    ),
    "a child outside the file": (file_of(branch(2, 3)), "page 3 lies outside"),
    "a child far outside": (file_of(branch(2, 2**64 - 1)), "lies outside"),
    "a root outside": (file_of(leaf(2), root=3), "page 3 lies outside"),
    "a meta page as root": (file_of(leaf(2), root=1), "page 1 isn't a page of a bucket"),
    "an inline root": (file_of(leaf(2), root=0), "an inline bucket isn't a leaf"),
    "a freelist as root": (file_of(page(2, 16, 1, b"\0" * 8)), "page 2 isn't a page of a bucket"),
    "a freelist as a bucket": (
        file_of(leaf(2, (1, b"a", struct.pack("<QQ", 3, 0))), page(3, 16, 0, b"")),
        "page 3 isn't a page of a bucket",
    ),
    "two types at once": (file_of(page(2, 3, 0, b"")), "page 2 isn't a page of a bucket"),
    "another page's number": (file_of(leaf(7, ENTRY)), "page 2 isn't a page of a bucket"),
    "overflow beyond the file": (file_of(page(2, 2, 1, leaf_body([ENTRY]), overflow=1)), "goes on outside"),
    "endless overflow": (file_of(page(2, 2, 1, leaf_body([ENTRY]), overflow=2**32 - 1)), "goes on outside"),
    "too many entries": (file_of(page(2, 2, 65535, leaf_body([ENTRY]))), "more entries than it can hold"),
    "too many children": (file_of(page(2, 1, 65535, branch_body([(b"a", 3)])), leaf(3)), "more entries"),
    "a branch without children": (file_of(page(2, 1, 0, b"")), "leads nowhere"),
    "an entry beyond its page": (file_of(page(2, 2, 1, struct.pack("<IIII", 0, 4000, 3, 90))), "lies outside of it"),
    "a huge key": (file_of(page(2, 2, 1, struct.pack("<IIII", 0, 16, 2**32 - 1, 0))), "lies outside of it"),
    "a huge value": (file_of(page(2, 2, 1, struct.pack("<IIII", 0, 16, 1, 2**32 - 1) + b"k")), "lies outside of it"),
    "an entry in the header": (file_of(page(2, 2, 1, struct.pack("<IIII", 0, 0, 3, 3))), "lies outside of it"),
    "entries upon each other": (
        file_of(page(2, 2, 2, struct.pack("<8I", 0, 32, 1, 50, 0, 17, 1, 50) + b"a" * 60)),
        "upon another",
    ),
    "a key twice": (file_of(leaf(2, (0, b"a", b"1"), (0, b"a", b"2"))), "out of order"),
    "keys out of order": (file_of(leaf(2, (0, b"b", b"1"), (0, b"a", b"2"))), "out of order"),
    "leaves out of order": (
        file_of(branch(2, 3, 4), leaf(3, (0, b"b", b"1")), leaf(4, (0, b"b", b"2"))),
        "page 4 are out of order",
    ),
    "an empty key": (file_of(leaf(2, (0, b"", b"1"))), "out of order"),
    "an unknown type of entry": (file_of(leaf(2, (2, b"a", b"1"))), "unknown type"),
    "a bucket cut short": (file_of(leaf(2, (1, b"a", b"\0" * 15))), "cut short"),
    "an inline bucket without a page": (file_of(leaf(2, (1, b"a", b"\0" * 20))), "inline bucket isn't a leaf"),
    "an inline branch": (
        file_of(leaf(2, (1, b"a", b"\0" * 16 + struct.pack("<QHHI", 0, 1, 0, 0)))),
        "inline bucket isn't a leaf",
    ),
    "an inline bucket with too many entries": (
        file_of(leaf(2, (1, b"a", b"\0" * 16 + struct.pack("<QHHI", 0, 2, 99, 0)))),
        "inline bucket has more entries",
    ),
    "a missing end": (file_of(leaf(2), high=4), "end is missing"),
}


@pytest.mark.parametrize("name", BAD_TREES)
def test_a_damaged_tree_is_refused(name: str) -> None:
    content, why = BAD_TREES[name]
    damaged(content, why=why)


def test_buckets_nested_too_deeply_are_refused() -> None:
    def nested(depth: int) -> Tree:
        return {b"b": nested(depth - 1)} if depth > 1 else {b"k": b"v"}

    assert read(Writer().write(nested(MAX_DEPTH)))
    damaged(Writer().write(nested(MAX_DEPTH + 1)), why="nested deeper")
    inline = b"\0" * 16 + struct.pack("<QHHI", 0, 2, 0, 0)
    for _ in range(100):
        inline = b"\0" * 16 + struct.pack("<QHHI", 0, 2, 1, 0) + leaf_body([(1, b"b", inline)])
    damaged(file_of(page(2, 2, 1, leaf_body([(1, b"b", inline)]))), why="nested deeper")


def test_a_huge_page_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    pages = 300_000
    path.write_bytes(file_of(page(2, 2, 1, leaf_body([ENTRY]), overflow=pages - 3), high=pages))
    os.truncate(path, pages * 4096)
    began = time.monotonic()
    with path.open("rb") as file, pytest.raises(InvalidInput, match="more than 67108864 bytes"):
        read_bolt(file.fileno())
    assert time.monotonic() - began < 1


def test_more_than_fits_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = Writer().write({b"bucket": {b"%05d" % i: b"x" * 100 for i in range(200)}})
    assert read(content)
    monkeypatch.setattr("fusion_store.importing._bolt.MAX_CONTENT_BYTES", 50_000)
    with pytest.raises(InvalidInput, match="holds more than"):
        read(content)


def outcome(content: bytes) -> Bucket | None:
    """What is read; None when it is refused with an error of our own, both soon."""
    began = time.monotonic()
    try:
        return read(content)
    except InvalidInput:
        return None
    finally:
        assert time.monotonic() - began < 2


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(list(CONTENTS)), length=st.integers(0, 131071))
def test_a_cut_file_is_refused_or_read_whole(name: str, length: int) -> None:
    assert outcome(CONTENTS[name][:length]) in (None, read(CONTENTS[name]))


USED = 24 * 4096
"""Where either sample ends to hold anything, about."""

changes = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4
)


def altered(content: bytes, spots: list[tuple[float, bytes]]) -> bytes:
    copy = bytearray(content)
    for where, what in spots:
        at = int(where * USED)
        copy[at : at + len(what)] = what
    return bytes(copy[: len(content)])


def size_of(bucket: Bucket) -> int:
    return sum(
        len(key) + (size_of(value) if isinstance(value, Bucket) else len(value)) for key, value in bucket.items()
    )


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(list(CONTENTS)), spots=changes)
def test_a_file_altered_anywhere_is_refused_or_read_within_bounds(name: str, spots: list[tuple[float, bytes]]) -> None:
    found = outcome(altered(CONTENTS[name], spots))
    assert found is None or size_of(found) <= len(CONTENTS[name])


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(list(CONTENTS)),
    number=st.integers(2, 22),
    spots=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_an_altered_page_header_is_refused_or_read_within_bounds(
    name: str, number: int, spots: list[tuple[int, int]]
) -> None:
    copy = bytearray(CONTENTS[name])
    for at, byte in spots:
        copy[number * 4096 + at] = byte
    found = outcome(bytes(copy))
    assert found is None or size_of(found) <= len(copy)


@given(content=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_rubbish_behind_the_magic_is_refused(content: bytes) -> None:
    header = struct.pack("<QHHI", 0, 4, 0, 0) + struct.pack("<I", 0xED0CDAED)
    with pytest.raises(InvalidInput):
        read((header + content).ljust(8192, b"\0"))


def test_a_change_of_any_free_page_changes_nothing() -> None:
    for content in CONTENTS.values():
        copy = bytearray(content)
        copy[29 * 4096 :] = b"\xff" * (len(copy) - 29 * 4096)
        assert read(bytes(copy)) == read(content)
