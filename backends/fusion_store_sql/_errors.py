"""The one place where a database's errors become the vault's. No message of a driver gets through."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from fusion_store import (
    AlreadyExists,
    Busy,
    CorruptStore,
    FusionStoreError,
    OutcomeUnknown,
    PermissionDenied,
    ReadOnly,
    StorageFull,
    StorageIO,
    TenantNotFound,
    Unavailable,
)

_NOT_UTF8 = "Could not decode to UTF-8"


class UnreadableText(CorruptStore):
    """A text column holds something else than UTF-8."""


@contextmanager
def translated() -> Iterator[None]:
    """Turns what the database raises inside the block into a ``FusionStoreError``."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise translate(error) from None


@contextmanager
def translated_commit() -> Iterator[None]:
    """As ``translated``, around a COMMIT: where it isn't certain that nothing was changed, ``OutcomeUnknown``."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        translation = translate(error)
        if isinstance(translation, StorageIO | Unavailable | CorruptStore):
            raise OutcomeUnknown("the commit failed half-way: it may have been made or not") from None
        raise translation from None


def translate(error: Exception) -> FusionStoreError:
    """The vault's error for one of SQLAlchemy or a driver."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _translate_sqlite(cause)
    if isinstance(cause, PoolTimeout):
        return Busy("no database connection became free in time")
    return StorageIO(f"the database failed ({type(cause).__name__})")


def _translate_sqlite(error: sqlite3.Error) -> FusionStoreError:  # noqa: PLR0911
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        if _NOT_UTF8 in str(error):
            return UnreadableText("a text column holds something else than UTF-8")
        return StorageIO(f"SQLite failed ({type(error).__name__})")
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Busy("the SQLite database was locked by others for longer than lock_timeout")
        case sqlite3.SQLITE_FULL:
            return StorageFull("no room is left where the SQLite database lies")
        case sqlite3.SQLITE_READONLY:
            return ReadOnly("the SQLite database can't be written")
        case sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH | sqlite3.SQLITE_CANTOPEN:
            return PermissionDenied("the SQLite database can't be opened: check the modes of file and folder")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_ERROR | sqlite3.SQLITE_SCHEMA:
            return CorruptStore("the SQLite database is damaged, or isn't one")
        case sqlite3.SQLITE_CONSTRAINT if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            return TenantNotFound()
        case sqlite3.SQLITE_CONSTRAINT:
            return AlreadyExists("a record of that place stands already")
    return StorageIO(f"SQLite failed to read or write ({getattr(error, 'sqlite_errorname', 'unknown')})")
