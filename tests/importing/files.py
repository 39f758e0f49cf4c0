"""Makes files to import: BoltDB files page by page, and what MCPFusion keeps in them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

DATA = Path(__file__).parent / "data"
SAMPLES = {name: DATA / name / "mcpfusion.db" for name in ("plan", "mcpfusion-1.1")}
BORN = "2026-01-02T03:04:05.678901234Z"
ADA, BOB = "ada" * 20, "bob" * 20

T = TypeVar("T")
Tree = Mapping[bytes, "bytes | Tree"]


def manifest(name: str) -> list[dict[str, Any]]:
    """What the programs that wrote a sample say is in it."""
    found: list[dict[str, Any]] = json.loads((DATA / name / "manifest.json").read_text())
    return found


def fnv1a(content: bytes) -> int:
    hash = 0xCBF29CE484222325
    for byte in content:
        hash = ((hash ^ byte) * 0x100000001B3) % 2**64
    return hash


def meta_page(
    number: int,
    *,
    root: int,
    pages: int,
    txid: int,
    page_size: int = 4096,
    stated_size: int | None = None,
    version: int = 2,
    order: str = "<",
    broken: bool = False,
) -> bytes:
    size = page_size if stated_size is None else stated_size
    body = struct.pack(f"{order}IIIIQQQQQ", 0xED0CDAED, version, size, 0, root, 0, 2**64 - 1, pages, txid)
    page = struct.pack(f"{order}QHHI", number, 4, 0, 0) + body + struct.pack(f"{order}Q", fnv1a(body) ^ broken)
    return page.ljust(page_size, b"\0")


def page(id: int, flags: int, count: int, body: bytes, *, page_size: int = 4096, overflow: int | None = None) -> bytes:
    """A page with as many overflow pages as its body takes."""
    more = max(0, -(-(16 + len(body)) // page_size) - 1)
    header = struct.pack("<QHHI", id, flags, count, more if overflow is None else overflow)
    return (header + body).ljust((1 + more) * page_size, b"\0")


def leaf_body(entries: list[tuple[int, bytes, bytes]]) -> bytes:
    heads, data = b"", b""
    for i, (flags, key, value) in enumerate(entries):
        heads += struct.pack("<IIII", flags, 16 * (len(entries) - i) + len(data), len(key), len(value))
        data += key + value
    return heads + data


def branch_body(children: list[tuple[bytes, int]]) -> bytes:
    heads, data = b"", b""
    for i, (key, id) in enumerate(children):
        heads += struct.pack("<IIQ", 16 * (len(children) - i) + len(data), len(key), id)
        data += key
    return heads + data


class Writer:
    """Writes a tree of buckets as bbolt would: small ones inline, leaves of ``fan_out`` entries under branches."""

    def __init__(self, page_size: int = 4096, fan_out: int = 50) -> None:
        self._page_size = page_size
        self._fan_out = fan_out
        self._next = 2
        self._pages: list[bytes] = []

    def write(self, tree: Tree) -> bytes:
        root = self._subtree(self._entries(tree))
        size, pages = self._page_size, self._next
        metas = (meta_page(i, root=root, pages=pages, txid=7 - i, page_size=size) for i in (0, 1))
        return b"".join([*metas, *self._pages])

    def _entries(self, tree: Tree) -> list[tuple[int, bytes, bytes]]:
        return [
            (0, key, value) if isinstance(value, bytes) else (1, key, self._bucket(value))
            for key, value in sorted(tree.items())
        ]

    def _bucket(self, tree: Tree) -> bytes:
        entries = self._entries(tree)
        inline = struct.pack("<QHHI", 0, 2, len(entries), 0) + leaf_body(entries)
        if len(inline) < self._page_size // 4 and not any(flags for flags, _, _ in entries):
            return struct.pack("<QQ", 0, 0) + inline
        return struct.pack("<QQ", self._subtree(entries), 0)

    def _subtree(self, entries: list[tuple[int, bytes, bytes]]) -> int:
        parts = self._parts(entries) or [[]]
        nodes = [(part[0][1] if part else b"", self._add(2, len(part), leaf_body(part))) for part in parts]
        while len(nodes) > 1:
            nodes = [(part[0][0], self._add(1, len(part), branch_body(part))) for part in self._parts(nodes)]
        return nodes[0][1]

    def _parts(self, items: list[T]) -> list[list[T]]:
        return [items[i : i + self._fan_out] for i in range(0, len(items), self._fan_out)]

    def _add(self, flags: int, count: int, body: bytes) -> int:
        id = self._next
        content = page(id, flags, count, body, page_size=self._page_size)
        self._pages.append(content)
        self._next += len(content) // self._page_size
        return id


def api_token(name: str, **changes: object) -> bytes:
    """The metadata of an API token whose text is ``name``."""
    fields = {"hash": hash_of(name), "prefix": name[:8], "description": "", "created_at": BORN, "last_used": BORN}
    return as_json(fields | changes)


def oauth(access_token: str = "secret-access", **changes: object) -> bytes:
    fields = {"access_token": access_token, "token_type": "Bearer", "created_at": BORN, "updated_at": BORN}
    return as_json(fields | changes)


def credential(type: str = "api_key", **changes: object) -> bytes:
    return as_json({"type": type, "data": {"key": "secret-key"}, "created_at": BORN, "updated_at": BORN} | changes)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def hash_of(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def key_of(name: str) -> bytes:
    return hash_of(name).encode()


def shipped(holdings: Mapping[str, Tree], users: Mapping[str, list[str]] = {}, **changes: Tree | bytes) -> Tree:
    """A file in the layout of 1.1: by an API token's text, what its tenant holds, and the token itself unless
    ``token`` is given as empty."""
    tokens, tenants = {}, {}
    for name, holding in holdings.items():
        metadata = holding.get(b"token", api_token(name))
        if metadata:
            tokens[key_of(name)] = metadata
        if held := {bucket: content for bucket, content in holding.items() if bucket != b"token"}:
            tenants[key_of(name)] = held
    root: dict[bytes, bytes | Tree] = {
        b"api_tokens": tokens,
        b"tenants": tenants,
        b"users": {user.encode(): {b"api_keys": {key_of(key): b"" for key in keys}} for user, keys in users.items()},
        b"key_to_user": {key_of(key): user.encode() for user, keys in users.items() for key in keys},
        b"system": {b"schema_version": b"1.1"},
    }
    return root | {name.encode(): value for name, value in changes.items()}


def planned(holdings: Mapping[str, Tree]) -> Tree:
    """A file in the layout of the plan."""
    tokens = {key_of(name): {b"metadata": api_token(name), **held} for name, held in holdings.items()}
    return {b"api_tokens": tokens, b"system": {b"schema_version": b"1.0"}, b"token_index": {}}


def write(path: Path, tree: Tree, **options: int) -> Path:
    """Write a BoltDB file."""
    path.write_bytes(Writer(**options).write(tree))
    return path
