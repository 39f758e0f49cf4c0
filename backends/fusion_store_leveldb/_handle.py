"""The database of one store, opened again whenever a write has failed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final

from fusion_store import StoreClosed
from fusion_store_leveldb import _folder as folders
from fusion_store_leveldb._lock import FolderLock
from fusion_store_leveldb._session import Session

_STRIPES: Final = 256


class Handle:
    """Holds a locked folder and the database in it, until ``close``."""

    def __init__(self, lock: FolderLock, session: Session) -> None:
        self._lock = lock
        self._session: Session | None = session
        self._reopening = threading.Lock()
        self._closed = False

    def use(self) -> Session:
        """The database, counted as in use until its ``with`` block ends. Uses must not be nested.

        After a failed write it is reopened first; while that fails, each call tries again and raises why.
        """
        while True:
            session = self._session
            if session is None or session.has_failed:
                session = self._reopen()
            try:
                session.begin_use()
            except StoreClosed:
                # Another thread is about to reopen it.
                if self._closed:
                    raise
                continue
            return session

    @property
    def folder(self) -> Path:
        """Where the store lies."""
        return self._lock.folder

    def bytes_on_disk(self) -> int:
        """The size of all files of the store."""
        return folders.bytes_on_disk(self._lock.folder)

    def close(self) -> None:
        """Close the database, once nobody uses it, and give the folder free."""
        with self._reopening:
            self._closed = True
            session, self._session = self._session, None
            try:
                if session is not None:
                    session.close()
            finally:
                self._lock.release()

    def _reopen(self) -> Session:
        with self._reopening:
            if self._closed:
                raise StoreClosed
            session = self._session
            if session is not None and not session.has_failed:
                return session
            if session is not None:
                # LevelDB would refuse to open what is still open.
                session.close()
            self._session = Session(folders.open_database(self._lock.folder))
            return self._session


class Stripes:
    """Locks by tenant: two calls that change one tenant don't overlap, those of others mostly may.

    To be taken before the database is: who uses that must not wait, or it could never be reopened.
    """

    def __init__(self) -> None:
        self._locks = tuple(threading.Lock() for _ in range(_STRIPES + 1))

    def hold(self, *hashes: str) -> AbstractContextManager[object]:
        """Hold the locks of these tenants, taken in an order that is the same for all."""
        stripes = {self.number(hash) for hash in hashes}
        return self._locks[stripes.pop()] if len(stripes) == 1 else self._hold_each(sorted(stripes))

    @contextmanager
    def _hold_each(self, stripes: list[int]) -> Iterator[None]:
        with ExitStack() as held:
            for stripe in stripes:
                held.enter_context(self._locks[stripe])
            yield

    def hold_all(self) -> AbstractContextManager[object]:
        """Hold the locks of all tenants, and of the store's own."""
        return self.hold("", *(f"{stripe:02x}" for stripe in range(_STRIPES)))

    def number(self, hash: str) -> int:
        """Which lock is a tenant's; the last one, with an empty hash, is for what is the store's own."""
        return int(hash[:2], 16) if hash else _STRIPES
