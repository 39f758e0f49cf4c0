"""Reads files of bbolt, the B+ tree store of Go, format version 2; knows nothing of what is kept in them.

A file consists of pages of one size, some followed by overflow pages. Pages 0 and 1 hold the two newest states of the
meta data: the one with the higher transaction number leads to the root bucket. A bucket is a tree of branch and leaf
pages; a leaf maps keys to values or to nested buckets, small ones standing inline in the leaf itself. Layouts: package
``internal/common`` of https://github.com/etcd-io/bbolt.

Nothing that a file says is trusted: pages carry no checksum, so each is held to the shape in which bbolt writes it,
and is read once at most.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import Final, NamedTuple, NoReturn

from fusion_store._errors import InvalidInput

MAX_PAGE_BYTES: Final = 64 * 1024 * 1024
"""A page with its overflow pages."""
MAX_CONTENT_BYTES: Final = 512 * 1024 * 1024
"""All keys and values, with what Python takes to hold them."""
MAX_DEPTH: Final = 16
"""Buckets within buckets."""

_PAGE: Final = Struct("<QHHI")  # id, flags, count, overflow
_BRANCH: Final = Struct("<IIQ")  # offset of the key from here, its size, page
_LEAF: Final = Struct("<IIII")  # flags, offset of the key from here, its size, size of the value behind it
_BUCKET: Final = Struct("<QQ")  # root page or 0, sequence; an inline bucket's only page follows
_META: Final = Struct("<IIIIQQQQQ")  # magic, version, page size, flags, root, sequence, freelist, page count, txid
_CHECKSUM: Final = Struct("<Q")
_META_BYTES: Final = _META.size + _CHECKSUM.size

_MAGIC: Final = 0xED0CDAED.to_bytes(4, "little")
_VERSION: Final = 2
_BRANCH_PAGE: Final = 1
_LEAF_PAGE: Final = 2
_BUCKET_ENTRY: Final = 1
_PAGE_SIZES: Final = tuple(1024 << shift for shift in range(7))
_ENTRY_OVERHEAD: Final = 200


class Bucket(dict[bytes, "bytes | Bucket"]):
    """Keys in order, with values and nested buckets."""

    def bucket(self, name: bytes) -> Bucket:
        """The nested bucket of that name, an empty one when there is none; ``InvalidInput`` for a value."""
        found = self.get(name, Bucket())
        if not isinstance(found, Bucket):
            raise InvalidInput("file", "has a value where a bucket is expected")
        return found


class _Meta(NamedTuple):
    page_size: int
    root: int
    pages: int
    txid: int


def is_bolt(file: int) -> bool:
    """Whether an open file begins as one of bbolt does, in this byte order or the other one."""
    return any(os.pread(file, 4, at + _PAGE.size) in (_MAGIC, _MAGIC[::-1]) for at in (0, *_PAGE_SIZES))


def read_bolt(file: int) -> Bucket:
    """All that an open file holds, in its newest intact state; ``InvalidInput`` when it is damaged or too large.

    ``file`` is a file descriptor; its position isn't moved.
    """
    meta = _newest_meta(file)
    if os.fstat(file).st_size < meta.pages * meta.page_size:
        _refuse("its end is missing")
    return _Reader(file, meta).read_bucket(_BUCKET.pack(meta.root, 0), 1)


def _newest_meta(file: int) -> _Meta:
    first = _read_meta(file, 0)
    sizes = (first.page_size,) if first else _PAGE_SIZES
    others = [meta for size in sizes if (meta := _read_meta(file, size)) and meta.page_size == size]
    metas = [meta for meta in (first, *others) if meta]
    if not metas:
        _refuse("neither of its meta pages is intact")
    return max(metas, key=lambda meta: meta.txid)


def _read_meta(file: int, at: int) -> _Meta | None:
    """The meta page at an offset, None unless it is intact; raises what no other page would make good."""
    content = os.pread(file, _META_BYTES, at + _PAGE.size)
    if content.startswith(_MAGIC[::-1]):
        raise InvalidInput("file", "is a BoltDB file of a machine with the other byte order")
    if len(content) < _META_BYTES or not content.startswith(_MAGIC):
        return None
    _, version, page_size, _, root, _, _, pages, txid = _META.unpack_from(content)
    if _CHECKSUM.unpack_from(content, _META.size)[0] != _fnv1a(content[: _META.size]):
        return None
    if version != _VERSION:
        raise InvalidInput("file", f"is a BoltDB file of format version {version}, not {_VERSION}")
    if page_size not in _PAGE_SIZES:
        raise InvalidInput("file", f"is a BoltDB file with pages of {page_size} bytes, which isn't supported")
    return _Meta(page_size, root, pages, txid)


def _fnv1a(content: bytes) -> int:
    """The 64-bit FNV-1a hash."""
    hash = 0xCBF29CE484222325
    for byte in content:
        hash = (hash ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return hash


class _Reader:
    def __init__(self, file: int, meta: _Meta) -> None:
        self._file = file
        self._meta = meta
        self._seen = {0, 1}
        self._content_bytes = 0

    def read_bucket(self, header: bytes, depth: int) -> Bucket:
        """The bucket that a leaf's value, or the meta page, points to."""
        if depth > MAX_DEPTH:
            _refuse(f"its buckets are nested deeper than {MAX_DEPTH}")
        if len(header) < _BUCKET.size:
            _refuse("a bucket is cut short")
        root, _ = _BUCKET.unpack_from(header)
        bucket = Bucket()
        if root == 0:
            self._read_leaf(header[_BUCKET.size :], "an inline bucket", bucket, depth)
            return bucket
        waiting = [root]
        while waiting:
            id = waiting.pop()
            page = self._read_page(id)
            name = f"page {id}"
            flags = _PAGE.unpack_from(page)[1]
            if flags == _BRANCH_PAGE:
                waiting += reversed(_children(page, name))
            else:
                self._read_leaf(page, name, bucket, depth)
        return bucket

    def _read_page(self, id: int) -> bytes:
        size = self._meta.page_size
        if not 0 <= id < self._meta.pages:
            _refuse(f"page {id} lies outside the file")
        header = self._pread(_PAGE.size, id * size)
        own_id, flags, _, overflow = _PAGE.unpack(header)
        if own_id != id or flags not in (_BRANCH_PAGE, _LEAF_PAGE):
            _refuse(f"page {id} isn't a page of a bucket")
        if id + overflow >= self._meta.pages:
            _refuse(f"page {id} goes on outside the file")
        if (1 + overflow) * size > MAX_PAGE_BYTES:
            _refuse(f"page {id} has more than {MAX_PAGE_BYTES} bytes")
        extent = range(id, id + overflow + 1)
        if not self._seen.isdisjoint(extent):
            _refuse(f"page {id} is reached twice")
        self._seen.update(extent)
        return self._pread(len(extent) * size, id * size)

    def _pread(self, count: int, at: int) -> bytes:
        content = os.pread(self._file, count, at)
        if len(content) < count:
            _refuse("its end is missing")
        return content

    def _read_leaf(self, page: bytes, name: str, bucket: Bucket, depth: int) -> None:
        if len(page) < _PAGE.size or _PAGE.unpack_from(page)[1] != _LEAF_PAGE:
            _refuse(f"{name} isn't a leaf")
        last = next(reversed(bucket), b"")
        count = _count(page, name)
        end = _PAGE.size + count * _LEAF.size
        for at in range(_PAGE.size, end, _LEAF.size):
            flags, offset, key_size, value_size = _LEAF.unpack_from(page, at)
            start = at + offset
            middle = start + key_size
            if start < end or middle + value_size > len(page):
                _refuse(f"an entry of {name} lies outside of it or upon another")
            end = middle + value_size
            key, value = page[start:middle], page[middle:end]
            if key <= last:
                _refuse(f"the keys of {name} are out of order")
            if flags not in (0, _BUCKET_ENTRY):
                _refuse(f"an entry of {name} is of an unknown type")
            self._account(len(key) + len(value))
            bucket[key] = self.read_bucket(value, depth + 1) if flags == _BUCKET_ENTRY else value
            last = key

    def _account(self, size: int) -> None:
        self._content_bytes += size + _ENTRY_OVERHEAD
        if self._content_bytes > MAX_CONTENT_BYTES:
            raise InvalidInput("file", f"holds more than {MAX_CONTENT_BYTES} bytes")


def _children(page: bytes, name: str) -> list[int]:
    count = _count(page, name)
    if not count:
        _refuse(f"{name} is a branch that leads nowhere")
    return [_BRANCH.unpack_from(page, _PAGE.size + i * _BRANCH.size)[2] for i in range(count)]


def _count(page: bytes, name: str) -> int:
    """The number of entries; those of branches and leaves have one size."""
    count: int = _PAGE.unpack_from(page)[2]
    if _PAGE.size + count * _LEAF.size > len(page):
        _refuse(f"{name} has more entries than it can hold")
    return count


def _refuse(reason: str) -> NoReturn:
    raise InvalidInput("file", f"is a damaged BoltDB file: {reason}")
