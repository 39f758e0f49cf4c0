"""Opening a store, and creating one in two phases: anew, or as a copy."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Final

from fusion_store import SYSTEM_TENANT, AlreadyExists, ConfigError, InvalidInput, StorageIO
from fusion_store.backend import TenantRecord
from fusion_store_leveldb import _codec as codec
from fusion_store_leveldb import _folder as folders
from fusion_store_leveldb import _keys as keys
from fusion_store_leveldb import _rows as rows
from fusion_store_leveldb._errors import translated
from fusion_store_leveldb._handle import Handle
from fusion_store_leveldb._lock import FolderLock
from fusion_store_leveldb._session import Changes, Session

_BATCH_BYTES: Final = 1 << 20


def open_handle(path: str | PathLike[str], *, create: bool, lock_timeout: float) -> Handle:
    """Open the store at a path, with ``create`` a new one where there is none."""
    lock = folders.claim_folder(_checked(path), create=create, lock_timeout=lock_timeout)
    try:
        if not folders.is_ready(lock, create=create):
            _create(lock, _first_entries())
        folders.make_private(lock.folder)
        lock.sign()
        session = Session(folders.open_database(lock.folder))
        try:
            folders.check_schema(rows.read_schema(session))
        except BaseException:
            session.close()
            raise
        return Handle(lock, session)
    except BaseException:
        lock.release()
        raise


def back_up(session: Session, folder: Path, path: str | PathLike[str]) -> None:
    """Copy what the store in ``folder`` holds now into a new one at ``path``; as ``TokenRepository.backup``."""
    target = Path(os.path.abspath(_checked(path)))  # noqa: PTH100
    if Path(os.path.realpath(target)).is_relative_to(folder):
        raise ConfigError("a backup can't lie inside the store's own folder")
    # Under another name until it is complete, since an unfinished store would be opened as an empty one.
    unfinished = target.with_name(f".fusion-store-{secrets.token_hex(8)}.partial")
    written = unfinished
    with translated():
        _refuse_existing(target)
        folders.make_parents(target)
        try:
            lock = folders.claim_folder(str(unfinished), create=True, lock_timeout=0)
            try:
                _create(lock, _all_entries(session))
            finally:
                lock.release()
            _refuse_existing(target)
            unfinished.rename(target)
            written = target
            folders.sync_directory(target.parent)
        except BaseException:
            shutil.rmtree(written, ignore_errors=True)
            raise


def _create(lock: FolderLock, entries: Iterable[tuple[bytes, bytes]]) -> None:
    folders.mark_creating(lock)
    session = Session(folders.open_database(lock.folder, create=True))
    try:
        changes, size = Changes(), 0
        for key, value in entries:
            changes.put(key, value)
            size += len(key) + len(value)
            if size >= _BATCH_BYTES:
                session.write(changes, sync=False)
                changes, size = Changes(), 0
        session.write(changes)
    finally:
        session.close()
    folders.mark_ready(lock)


def _first_entries() -> Iterator[tuple[bytes, bytes]]:
    yield keys.SCHEMA, codec.encode_bytes(folders.SCHEMA_VERSION.encode())
    system = TenantRecord(SYSTEM_TENANT, 0)
    yield keys.of_record(system), codec.encode(system)


def _all_entries(session: Session) -> Iterator[tuple[bytes, bytes]]:
    with session.snapshot() as view:
        for entry in view.scan(keys.EVERYTHING):
            if session.has_failed:
                raise StorageIO("a write failed meanwhile, and the store has to be reopened")
            yield entry


def _checked(path: str | PathLike[str]) -> str:
    text = os.fspath(path) if isinstance(path, str | PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidInput("path", "must be a path as a string or path object")
    return text


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise AlreadyExists("something stands at that path already")
