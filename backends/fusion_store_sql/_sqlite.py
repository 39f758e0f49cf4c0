"""A vault in an SQLite file: private from its first moment, opened with pragmas, looked at without a change."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from fusion_store import AlreadyExists, ConfigError, CorruptStore, PermissionDenied, StorageFull, StorageIO
from fusion_store.backend import StoreURL
from fusion_store_sql._database import Database
from fusion_store_sql._errors import translated
from fusion_store_sql._location import Location
from fusion_store_sql._sessions import Session
from fusion_store_sql._signals import sqlite_signal

OLDEST_SQLITE: Final = (3, 35)
_LOCK_TIMEOUT_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 0.01
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")


class SQLiteLocation(Location):
    """A file; ``lock_timeout`` in seconds."""

    name = "sqlite"
    atomic_ddl = True

    def __init__(self, path: Path, lock_timeout: float = 30.0) -> None:
        self.path = path
        self._lock_timeout = lock_timeout

    @classmethod
    def of(cls, url: StoreURL) -> SQLiteLocation:
        """``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with ``lock_timeout`` (30 seconds)."""
        url.allow_parameters(("lock_timeout",))
        if url.path in ("", "/", "/:memory:"):
            raise ConfigError("the sqlite URL names no file; for a vault in memory use memory://")
        return cls(Path(url.file_path()).absolute(), url.seconds("lock_timeout", _LOCK_TIMEOUT_SECONDS))

    def files(self) -> list[Path]:
        paths = (Path(f"{self.path}{suffix}") for suffix in ("", *_SIDE_FILES))
        return [path for path in paths if path.exists()]

    def tables(self) -> set[str]:
        return _look(self.path, "SELECT name FROM sqlite_master WHERE type = 'table'")

    def revisions(self) -> set[str]:
        return _look(self.path, "SELECT version_num FROM alembic_version")

    def prepare(self) -> None:
        try:
            create_file(self.path)
        except AlreadyExists:
            if not self.path.is_file():
                raise ConfigError("the sqlite URL's path is a link that leads nowhere") from None
            self.path.chmod(0o600)

    def finish(self) -> None:
        """Nothing is left to be done: the schema was made in one transaction."""

    def is_unfinished(self) -> bool:
        return False

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        # A table that is rebuilt takes its children along unless foreign keys are off, which only works outside of
        # transactions.
        engine = self._engine()
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = OFF"))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        with translated(), engine.begin() as connection:
            yield connection
            if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                raise CorruptStore("the migrated database would hold records of no tenant: nothing was changed")

    def connect(self) -> Database:
        return Database(self._engine(), snapshot=("BEGIN",), writing="BEGIN IMMEDIATE", is_fit=_keeps_foreign_keys)

    def signal_reader(self) -> AbstractContextManager[Callable[[], int]]:
        return sqlite_signal(lambda: _connect(self.path, self._lock_timeout))

    def _engine(self) -> Engine:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: the vault needs 3.35 or newer")
        return create_engine(
            "sqlite+pysqlite://",
            creator=lambda: _connect(self.path, self._lock_timeout),
            hide_parameters=True,
            poolclass=NullPool,
        )

    def bytes_on_disk(self, connection: Connection) -> int:  # noqa: ARG002
        total = 0
        for path in self.files():
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def damage(self, connection: Connection) -> list[str]:
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [] if found == ["ok"] else [str(line) for line in found]

    def backup(self, database: Database, path: Path) -> None:
        with database.read() as connection:
            source = connection.connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            _copy_online(source, path)


def _connect(path: Path, lock_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=lock_timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        _use_wal(connection, lock_timeout)
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, lock_timeout: float) -> None:
    deadline = time.monotonic() + lock_timeout
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            # Changing the mode doesn't wait for locks by itself.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
            continue
        if mode != "wal":
            raise StorageIO("SQLite can't keep a write-ahead log where the database lies")
        return


def _keeps_foreign_keys(session: Session) -> bool:
    return bool(session.cursor.execute("PRAGMA foreign_keys").fetchall() == [(1,)])


def create_file(path: Path) -> None:
    """An empty file with mode 0600, in a folder made with mode 0700 where it is missing.

    ``AlreadyExists`` when something stands there.
    """
    try:
        for folder in reversed([path.parent, *path.parent.parents]):
            if not folder.exists():
                make_private_folder(folder)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
    except FileExistsError:
        raise AlreadyExists("something stands at that path already") from None
    except PermissionError:
        raise PermissionDenied("the folder of the SQLite database can't be written") from None
    except NotADirectoryError:
        raise ConfigError("the path of the SQLite database leads through a file") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("no room is left where the SQLite database is to lie") from None
        raise StorageIO(f"the SQLite database can't be created: {error.strerror}") from None


def make_private_folder(folder: Path) -> None:
    """A new folder with mode 0700."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _look(path: Path, query: str) -> set[str]:
    try:
        is_file = path.is_file()
        if not is_file and path.exists():
            raise ConfigError("the sqlite URL's path is no file")
        log = path.with_name(path.name + "-wal")
        has_log = log.exists() and log.stat().st_size > 0
        if has_log and not (is_file and path.stat().st_size):
            raise CorruptStore("the SQLite database is lost, and its write-ahead log still there: restore a backup")
        if not is_file:
            return set()
    except PermissionError:
        raise PermissionDenied("the SQLite database can't be read") from None
    except OSError as error:
        raise StorageIO(f"the SQLite database can't be read: {error.strerror}") from None
    with translated():
        if not has_log:
            # Nobody is writing, and only `immutable` keeps SQLite from making a log.
            try:
                return _select(path, "immutable=1", query)
            except sqlite3.DatabaseError:
                pass
        return _select(path, "mode=ro", query)


def _select(path: Path, mode: str, query: str) -> set[str]:
    with closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True)) as connection:
        return {value for (value,) in connection.execute(query)}


def _copy_online(source: sqlite3.Connection, path: Path) -> None:
    """A consistent copy at ``path``, while others write; on a failure nothing is left there."""
    if not path.parent.is_dir():
        raise ConfigError("the folder that the copy is to lie in doesn't exist")
    create_file(path)
    try:
        with translated():
            with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as target:
                source.backup(target)
                (verdict,) = target.execute("PRAGMA quick_check").fetchone()
            if verdict != "ok":
                raise CorruptStore("the copy is damaged")
    except BaseException:
        for suffix in ("", *_SIDE_FILES):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        raise
