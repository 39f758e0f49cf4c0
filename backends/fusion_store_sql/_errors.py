"""The one place where a database's errors become the vault's. No message of a driver gets through."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from fusion_store import (
    AlreadyExists,
    Busy,
    ConfigError,
    CorruptStore,
    FusionStoreError,
    OutcomeUnknown,
    PermissionDenied,
    ReadOnly,
    StorageFull,
    StorageIO,
    StoreNotFound,
    TenantNotFound,
    Unavailable,
)

_NO_ROOM: Final = "no room is left where the SQLite database lies"
_NOT_UTF8: Final = "Could not decode to UTF-8"


class UnreadableText(CorruptStore):
    """A text column holds something else than UTF-8."""


class NoRoomForIndex(StorageFull):
    """SQLite can't make the index of its log larger. That comes last in a commit, when the log may hold it already."""


class Deadlock(Busy):
    """The database undid a transaction to resolve a deadlock; the same may well succeed when it is run again."""


@contextmanager
def translated() -> Iterator[None]:
    """Turns what the database raises inside the block into a ``FusionStoreError``."""
    try:
        yield
    except Exception as error:
        translation = translate(error)
        if translation is None:
            raise
        raise translation from None


@contextmanager
def translated_commit() -> Iterator[None]:
    """As ``translated``, around a COMMIT: where it isn't certain that nothing was changed, ``OutcomeUnknown``."""
    try:
        yield
    except Exception as error:
        translation = translate(error)
        if translation is None:
            raise
        if isinstance(translation, StorageIO | Unavailable | CorruptStore | NoRoomForIndex):
            raise OutcomeUnknown("the commit failed half-way: it may have been made or not") from None
        raise translation from None


def translate(error: Exception) -> FusionStoreError | None:
    """The vault's error for one of SQLAlchemy or a driver; None for any other."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    translator = _TRANSLATORS.get(type(cause).__module__.partition(".")[0])
    if translator is not None and isinstance(cause, Exception):
        return translator(cause)
    if isinstance(error, PoolTimeout):
        return Busy("no database connection became free in time: pool_size and pool_timeout in the URL say how many")
    if isinstance(error, SQLAlchemyError):
        return StorageIO(f"the database failed ({type(cause).__name__})")
    return None


def _translate_sqlite(error: Exception) -> FusionStoreError:  # noqa: PLR0911
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        if _NOT_UTF8 in str(error):
            return UnreadableText("a text column holds something else than UTF-8")
        return StorageIO(f"SQLite failed ({type(error).__name__})")
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Busy("the SQLite database was locked by others for longer than lock_timeout")
        case sqlite3.SQLITE_FULL:
            return StorageFull(_NO_ROOM)
        case sqlite3.SQLITE_IOERR if code == sqlite3.SQLITE_IOERR_SHMSIZE:
            return NoRoomForIndex(_NO_ROOM)
        case sqlite3.SQLITE_READONLY:
            return ReadOnly("the SQLite database can't be written")
        case sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH | sqlite3.SQLITE_CANTOPEN:
            return PermissionDenied("the SQLite database can't be opened: check the modes of file and folder")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_ERROR | sqlite3.SQLITE_SCHEMA:
            return CorruptStore("the SQLite database is damaged, or isn't one")
        case sqlite3.SQLITE_CONSTRAINT if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            return TenantNotFound()
        case sqlite3.SQLITE_CONSTRAINT:
            return _ALREADY_EXISTS()
    return StorageIO(f"SQLite failed to read or write ({getattr(error, 'sqlite_errorname', 'unknown')})")


def _translate_postgresql(error: Exception) -> FusionStoreError:
    """By SQLSTATE: PostgreSQL's manual, appendix A."""
    state: str | None = getattr(error, "sqlstate", None)
    if state is None:
        return _failed_connection(str(error), _POSTGRESQL_REFUSALS)
    make = _SQLSTATES.get(state) or _SQLSTATE_CLASSES.get(state[:2])
    return make() if make is not None else StorageIO(f"PostgreSQL failed (SQLSTATE {state})")


def _translate_mysql(error: Exception) -> FusionStoreError:
    """By error number: MariaDB's and MySQL's server and client error references."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else None
    if number == _ERROR_FROM_ENGINE and _NO_SPACE in str(error.args[-1]):
        return _FULL()
    make = _MYSQL_ERRORS.get(number or 0)
    return make() if make is not None else StorageIO(f"the database failed (error {number})")


def _failed_connection(message: str, refusals: dict[str, _Maker]) -> FusionStoreError:
    """The reason stands in the text only; an unknown one (a translated message, say) is ``Unavailable``."""
    return next((make() for fragment, make in refusals.items() if fragment in message), _UNAVAILABLE())


_Maker = Callable[[], FusionStoreError]


def _of(error: type[FusionStoreError], message: str) -> _Maker:
    return lambda: error(message)


_ALREADY_EXISTS: Final = _of(AlreadyExists, "a record of that place stands already")
_UNAVAILABLE: Final = _of(Unavailable, "the database server can't be reached, or ended the connection")
_FULL: Final = _of(StorageFull, "the database server has no room left")
_READ_ONLY: Final = _of(ReadOnly, "the database can't be written: it is a standby, or set to read only")
_DENIED: Final = _of(PermissionDenied, "the database server refuses this user")
_NO_DATABASE: Final = _of(StoreNotFound, "the database server has no database of that name")
_CORRUPT: Final = _of(CorruptStore, "the database is damaged")
_NO_TABLE: Final = _of(CorruptStore, "a table or column of the vault is missing")
_DEADLOCK: Final = _of(Deadlock, "other transactions were in the way, again and again")
_LOCKED: Final = _of(Busy, "others held a lock for longer than lock_timeout")
_TOO_SLOW: Final = _of(Busy, "a statement took longer than statement_timeout")
_TOO_MANY: Final = _of(Busy, "the database server has no resources left, or too many connections")

_SQLSTATES: Final[dict[str, _Maker]] = {
    "23503": TenantNotFound,
    "23505": _ALREADY_EXISTS,
    "25006": _READ_ONLY,
    "3D000": _NO_DATABASE,
    "40001": _DEADLOCK,
    "40P01": _DEADLOCK,
    "42501": _DENIED,
    "42703": _NO_TABLE,
    "42P01": _NO_TABLE,
    "53100": _FULL,
    "55P03": _LOCKED,
    "57014": _TOO_SLOW,
    "57P01": _UNAVAILABLE,
    "57P02": _UNAVAILABLE,
    "57P03": _UNAVAILABLE,
    "57P05": _UNAVAILABLE,
    "XX001": _CORRUPT,
    "XX002": _CORRUPT,
}
_SQLSTATE_CLASSES: Final[dict[str, _Maker]] = {"08": _UNAVAILABLE, "28": _DENIED, "53": _TOO_MANY}
_POOLER: Final = _of(
    ConfigError, "a pooler in front of PostgreSQL refuses session settings: add pooler=transaction to the URL"
)
_POSTGRESQL_REFUSALS: Final[dict[str, _Maker]] = {
    "unsupported startup parameter": _POOLER,
    "authentication failed": _DENIED,
    "no pg_hba.conf entry": _DENIED,
    "no password supplied": _DENIED,
    "permission denied": _DENIED,
    'role "': _DENIED,
    'database "': _NO_DATABASE,
    "too many": _TOO_MANY,
    "remaining connection slots": _TOO_MANY,
}

_ERROR_FROM_ENGINE: Final = 1030
_NO_SPACE: Final = "error 28"
_MYSQL_ERRORS: Final[dict[int, _Maker]] = {
    0: _UNAVAILABLE,
    1020: _DEADLOCK,
    1021: _FULL,
    1034: _CORRUPT,
    1040: _TOO_MANY,
    1041: _TOO_MANY,
    1044: _DENIED,
    1045: _DENIED,
    1049: _NO_DATABASE,
    1053: _UNAVAILABLE,
    1054: _NO_TABLE,
    1062: _ALREADY_EXISTS,
    1114: _FULL,
    1142: _DENIED,
    1143: _DENIED,
    1146: _NO_TABLE,
    1152: _UNAVAILABLE,
    1158: _UNAVAILABLE,
    1159: _UNAVAILABLE,
    1160: _UNAVAILABLE,
    1161: _UNAVAILABLE,
    1203: _TOO_MANY,
    1205: _LOCKED,
    1213: _DEADLOCK,
    1216: TenantNotFound,
    1226: _TOO_MANY,
    1227: _DENIED,
    1290: _READ_ONLY,
    1317: _UNAVAILABLE,
    1452: TenantNotFound,
    1698: _DENIED,
    1712: _CORRUPT,
    1792: _READ_ONLY,
    1836: _READ_ONLY,
    1927: _UNAVAILABLE,
    1969: _TOO_SLOW,
    2002: _UNAVAILABLE,
    2003: _UNAVAILABLE,
    2006: _UNAVAILABLE,
    2013: _UNAVAILABLE,
    2014: _UNAVAILABLE,
    2026: _UNAVAILABLE,
    2055: _UNAVAILABLE,
    3024: _TOO_SLOW,
    4031: _UNAVAILABLE,
}

_TRANSLATORS: Final[dict[str, Callable[[Exception], FusionStoreError]]] = {
    "sqlite3": _translate_sqlite,
    "psycopg": _translate_postgresql,
    "pymysql": _translate_mysql,
}
