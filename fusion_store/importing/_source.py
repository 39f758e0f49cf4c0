"""Opens a file to be imported, finds out what it is, and reads it whole."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fusion_store._errors import InvalidInput, StoreLocked
from fusion_store.importing import _contents, _file_cache, _layout_1_0, _layout_1_1
from fusion_store.importing._bolt import Bucket, is_bolt, read_bolt
from fusion_store.importing._contents import Contents
from fusion_store.importing._draft import Draft
from fusion_store.importing._file_cache import FindTenant
from fusion_store.importing._strict_json import read_json

MAX_CACHE_BYTES: Final = 16 * 1024 * 1024
"""A file cache."""

_SCHEMAS: Final = (None, b"1.0", b"1.1")
_BLANKS: Final = b" \t\r\n"


def read_source(
    path: str | os.PathLike[str], *, tenant_hash: str | None, merge_users: bool, find_tenant: FindTenant
) -> Draft:
    """What the file would bring. The file is opened read-only, and never changed."""
    now = time.time_ns() // 1000
    with _opened(path) as file:
        if is_bolt(file):
            _lock(file)
            if tenant_hash is not None:
                raise InvalidInput("tenant", "can be named for a file cache only: a BoltDB file says whose is what")
            return _contents.draft_of(_contents_of(read_bolt(file)), now, merge_users=merge_users)
        if os.pread(file, 4096, 0).lstrip(_BLANKS)[:1] not in (b"{", b"["):
            raise InvalidInput("file", "is neither a BoltDB file nor a JSON object, or its beginning is missing")
        text = os.pread(file, MAX_CACHE_BYTES + 1, 0)
    document = read_json(text, "file", MAX_CACHE_BYTES)
    return _file_cache.draft_of(document, now, tenant_hash=tenant_hash, find_tenant=find_tenant)


def _contents_of(root: Bucket) -> Contents:
    if not isinstance(root.get(b"api_tokens"), Bucket):
        raise InvalidInput("file", "is a BoltDB file, but not of MCPFusion: it has no bucket api_tokens")
    if root.bucket(b"system").get(b"schema_version") not in _SCHEMAS:
        raise InvalidInput("file", "is of MCPFusion, with a schema that this release doesn't know")
    if isinstance(root.get(b"tenants"), Bucket):
        return _layout_1_1.read_layout(root)
    return _layout_1_0.read_layout(root)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[int]:
    try:
        # A pipe without a writer would be waited for.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise InvalidInput("file", _reason(error)) from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise InvalidInput("file", "must be a regular file")
        yield file
    except OSError as error:
        raise InvalidInput("file", _reason(error)) from None
    finally:
        os.close(file)


def _reason(error: Exception) -> str:
    return ((isinstance(error, OSError) and error.strerror) or "can't be read").lower()


def _lock(file: int) -> None:
    """Keeps writers out until the file is closed: bbolt holds this lock as long as it has a file open."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        return
    raise StoreLocked("the file is open in another process: stop MCPFusion first")
