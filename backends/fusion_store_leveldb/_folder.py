"""A store's folder: whose it is, in which phase, who may read it, and how LevelDB opens it.

The marker file says whether the store is still being created or is ready, and its schema version: so that this can be
read without LevelDB, which rewrites files when it opens them. LevelDB would also delete files of a foreign folder, and
make an empty store where its own ``CURRENT`` was lost; it may create only while the marker says ``creating``.
"""

from __future__ import annotations

import os
import re
import resource
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import plyvel

from fusion_store import ConfigError, CorruptStore, SchemaOutOfDate, SchemaTooNew, StoreNotFound
from fusion_store_leveldb._errors import CURRENT_LOST, translated
from fusion_store_leveldb._fork import database_path
from fusion_store_leveldb._lock import MARKER, FolderLock

SCHEMAS: Final = ("0001", "0002")
"""All schema versions, oldest first."""
SCHEMA_VERSION: Final = SCHEMAS[-1]

_CREATING: Final = "creating"
_READY: Final = "ready"
_MARKER_BYTES: Final = 512
_read_marker_text: Final = re.compile(rb"fusion-store leveldb (creating|ready) schema (\w{1,32}) *\n").fullmatch

_is_leveldb_file: Final = re.compile(r"CURRENT|LOCK|LOG|LOG\.old|MANIFEST-\d+|\d+\.(log|ldb|sst|dbtmp)").fullmatch

_MIB: Final = 1 << 20
_OPEN_FILES: Final = 4096

_DEFAULT_ACL: Final = "system.posix_acl_default"
# A POSIX default ACL of user rw-, group ---, other ---: what is created in the folder, by whatever thread of LevelDB,
# is 0600 from its first moment, and no umask applies.
_PRIVATE_ACL: Final = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, 0xFFFFFFFF) for tag, permissions in ((0x01, 6), (0x04, 0), (0x20, 0))
)


def claim_folder(path: str, *, create: bool, lock_timeout: float) -> FolderLock:
    """Lock the folder of a standing store, or with ``create`` that of a new one, which may be missing or empty.

    Raises ``StoreNotFound``, ``ConfigError`` for a folder that holds something else, ``StoreLocked``.
    """
    # Absolute, since LevelDB opens files later on, and the host may change its directory.
    folder = Path(os.path.realpath(path))
    with translated():
        if create:
            _make_folders(folder)
        _refuse_foreign(folder)
        return FolderLock(folder, create=create, timeout=lock_timeout)


def is_ready(lock: FolderLock, *, create: bool) -> bool:
    """Whether a store stands there; False when it is to be created, nothing of one being left.

    Raises ``CorruptStore``, ``SchemaTooNew``, ``SchemaOutOfDate``, and ``StoreNotFound`` unless ``create``.
    Changes nothing but the remains of a creation that was cut short.
    """
    with translated():
        marker = _parse(os.pread(lock.descriptor, _MARKER_BYTES, 0))
        has_current = (lock.folder / "CURRENT").exists()
    if marker is not None and marker[0] == _READY:
        check_schema(marker[1])
        if not has_current:
            raise CorruptStore(CURRENT_LOST)
        return True
    if marker is None and has_current:
        raise CorruptStore("the marker file of the store is unreadable")
    if not create:
        raise StoreNotFound("there is no store at that place")
    with translated():
        remains = [path for path in lock.folder.iterdir() if path.name != MARKER]
        if not all(_is_leveldb_file(path.name) for path in remains):
            raise ConfigError("the folder holds something else than a store")
        for path in remains:
            path.unlink()
    return False


def mark_creating(lock: FolderLock) -> None:
    """Say that LevelDB may create files here, before it does."""
    make_private(lock.folder)
    _write_marker(lock, _CREATING)
    with translated():
        sync_directory(lock.folder.parent)


def mark_ready(lock: FolderLock, schema: str = SCHEMA_VERSION) -> None:
    """Say that the store is complete, at that schema: from now on it is never created anew."""
    with translated():
        # LevelDB leaves some of a new database's files to be written back later.
        for path in lock.folder.iterdir():
            _sync(path, os.O_RDONLY)
    _write_marker(lock, _READY, schema)


def make_private(folder: Path) -> None:
    """Keep others out of the folder, and of what is or will be created in it."""
    with translated():
        is_narrow = stat.S_IMODE(folder.stat().st_mode) == 0o700
        if is_narrow and _makes_private_files(folder):
            return
        if not is_narrow:
            folder.chmod(0o700)
        if hasattr(os, "setxattr"):
            # Without ACLs, the folder's own mode protects a file until it is narrowed.
            with suppress(OSError):
                os.setxattr(folder, _DEFAULT_ACL, _PRIVATE_ACL)
        _narrow_files(folder)


def _makes_private_files(folder: Path) -> bool:
    if hasattr(os, "getxattr"):
        with suppress(OSError):
            return os.getxattr(folder, _DEFAULT_ACL) == _PRIVATE_ACL
    return False


def open_database(folder: Path, *, create: bool = False) -> Any:
    """The opened ``plyvel.DB``; only with ``create`` may it be a new one."""
    path = database_path(folder)
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with translated():
        try:
            return plyvel.DB(
                path,
                create_if_missing=create,
                paranoid_checks=True,
                bloom_filter_bits=10,
                write_buffer_size=4 * _MIB,
                lru_cache_size=32 * _MIB,
                # What a vault holds hardly gets smaller: hashes, tokens, sealed payloads.
                compression=None,
                max_file_size=8 * _MIB,
                max_open_files=_OPEN_FILES if most_files < 0 else min(_OPEN_FILES, most_files // 2),
            )
        finally:
            if not _makes_private_files(folder):
                _narrow_files(folder)


def check_schema(version: str) -> None:
    """Raise when this release doesn't open that schema."""
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(f"the store's schema {version} is newer than this release's {SCHEMA_VERSION}")
    if version < SCHEMA_VERSION:
        raise SchemaOutOfDate(
            f"the store's schema {version} is older than this release's {SCHEMA_VERSION}: "
            "run fusion-store schema upgrade"
        )


def read_schema(path: str) -> str:
    """The schema version of the store at a path, which need not be free; ``StoreNotFound`` when none stands there."""
    folder = Path(os.path.realpath(path))
    with translated():
        _refuse_foreign(folder)
        try:
            marker = _parse((folder / MARKER).read_bytes()[:_MARKER_BYTES])
        except FileNotFoundError:
            marker = None
        if marker is None and (folder / "CURRENT").exists():
            raise CorruptStore("the marker file of the store is unreadable")
    if marker is None or marker[0] != _READY:
        raise StoreNotFound("there is no store at that place")
    return marker[1]


def bytes_on_disk(folder: Path) -> int:
    """The size of all files in the folder."""
    with translated():
        return sum(status.st_size for status in _file_statuses(folder))


def sync_directory(folder: Path) -> None:
    """Make the folder's entries durable."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_parents(folder: Path) -> None:
    """Create the folders above, those that are missing, for the owner alone."""
    missing = [parent for parent in folder.parents if not parent.exists()]
    for parent in reversed(missing):
        _make_folder(parent)


def _make_folders(folder: Path) -> None:
    if not folder.exists():
        make_parents(folder)
        _make_folder(folder)


def _make_folder(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)
        sync_directory(folder.parent)


def _refuse_foreign(folder: Path) -> None:
    if os.path.lexists(folder / MARKER):
        return
    try:
        entries = os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        raise StoreNotFound("there is no store at that place") from None
    # A marker that couldn't be looked at seems to be missing; its name is there.
    if entries and MARKER not in entries:
        raise ConfigError(f"the folder holds something else than a store: it has no {MARKER} file")


def _narrow_files(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & 0o177:
                path.chmod(0o600)


def _file_statuses(folder: Path) -> Iterator[os.stat_result]:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            yield path.lstat()


def _parse(data: bytes) -> tuple[str, str] | None:
    match = _read_marker_text(data)
    return None if match is None else (match[1].decode(), match[2].decode())


def _write_marker(lock: FolderLock, phase: str, schema: str = SCHEMA_VERSION) -> None:
    text = f"fusion-store leveldb {phase} schema {schema}".encode()
    with translated():
        # Less than a sector in one write: it is there as a whole or not at all.
        os.pwrite(lock.descriptor, text.ljust(_MARKER_BYTES - 1) + b"\n", 0)
        os.fsync(lock.descriptor)
        sync_directory(lock.folder)
