"""The one place where errors of LevelDB and of the operating system become the vault's.

Their texts hold paths, and could hold more: only what kind of trouble it was is taken over.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import plyvel

from fusion_store import (
    ConfigError,
    CorruptStore,
    FusionStoreError,
    PermissionDenied,
    ReadOnly,
    StorageFull,
    StorageIO,
    StoreClosed,
    StoreLocked,
)

DRIVER_ERRORS: Final = (plyvel.Error, OSError, RuntimeError, OverflowError)
"""What LevelDB and the operating system raise; plyvel gives ``RuntimeError`` for a closed database."""

IN_USE: Final = "LevelDB serves one process at a time: stop the other one, or choose SQLite"

CURRENT_LOST: Final = "LevelDB's CURRENT file is lost: restore a backup, or repair the store by hand"

_BY_ERRNO: Final[dict[int, tuple[type[FusionStoreError], str]]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), (StorageFull, "no room is left where the store lies")),
    **dict.fromkeys((errno.EACCES, errno.EPERM), (PermissionDenied, "the operating system refuses access")),
    errno.EROFS: (ReadOnly, "the store lies on a read-only file system"),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
        (ConfigError, "the URL's path can't be the folder of a store"),
    ),
}


def translate(error: BaseException) -> FusionStoreError:
    """What to raise, ``from None``, in place of one of ``DRIVER_ERRORS``."""
    if isinstance(error, plyvel.CorruptionError):
        return CorruptStore("LevelDB finds the store corrupt")
    if isinstance(error, plyvel.IOError):
        return _from_text(_text(error))
    if isinstance(error, plyvel.Error):
        if _text(error).endswith("does not exist (create_if_missing is false)"):
            return CorruptStore(CURRENT_LOST)
        return StorageIO("LevelDB refuses the call")
    if isinstance(error, OSError):
        kind, reason = _BY_ERRNO.get(error.errno or 0, (StorageIO, "reading or writing the store failed"))
        return kind(reason)
    return StoreClosed() if isinstance(error, RuntimeError) else StorageIO("reading or writing the store failed")


@contextmanager
def translated() -> Iterator[None]:
    """Raises what ``translate`` answers in place of what is raised inside."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translate(error) from None


def _from_text(text: str) -> FusionStoreError:
    """LevelDB keeps no error number, but ends its text with the operating system's message."""
    if text.startswith("IO error: lock "):
        return StoreLocked(f"another LevelDB program has the store open: {IN_USE}")
    for number, (kind, reason) in _BY_ERRNO.items():
        if text.endswith(os.strerror(number)):
            return kind(reason)
    return StorageIO("LevelDB failed to read or write the store")


def _text(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
