"""What nobody can do without: the drivers alone, doing what an operation needs and no more.

Each floor works on the very store that it is compared on, with the same keys or queries.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import make_url

from benchmarks import tenants
from benchmarks.measuring import Work, each, repeat
from benchmarks.stores import Store
from fusion_store import OAuthTokenData
from fusion_store.backend import APITokenRecord, Record, TenantRecord

decode_token: Final = msgspec.json.Decoder(OAuthTokenData).decode
PAYLOAD_HEADER: Final = 5
_APPENDED: Final = b"x" * 600


class Appender:
    """F: 600 bytes appended to a file, and ``fdatasync``."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / "appended", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def __call__(self) -> None:
        os.write(self._descriptor, _APPENDED)
        os.fdatasync(self._descriptor)

    def work(self, count: int) -> int:
        """Appends one after the other."""
        return repeat(self)(count)


class Raw(ABC):
    """A store's driver."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @abstractmethod
    def validation(self, seed: int) -> Work:
        """What finding the record of an API token takes."""

    @abstractmethod
    def secret_key(self, number: int) -> Any:
        """What ``secret_reader`` finds a tenant's OAuth token by."""

    @abstractmethod
    def secret_reader(self) -> Callable[[Any], bytes]:
        """Reads the payload of an OAuth token."""

    @abstractmethod
    def pages(self, starts: Sequence[int], limit: int) -> Work:
        """Pages of API tokens by age, each behind that of one of these tenants."""

    def get_oauth_token(self, seed: int) -> Work:
        """What reading an OAuth token takes."""
        read = self.secret_reader()
        return each(lambda key: decode_token(read(key)[PAYLOAD_HEADER:]), self.store.sample(self.secret_key, seed))


class RawLevelDB(Raw):
    """plyvel, on the handle that the store has open, since LevelDB can't be opened twice; with checksums verified."""

    def __init__(self, store: Store) -> None:
        from fusion_store_leveldb import _codec as codec
        from fusion_store_leveldb import _keys as keys

        super().__init__(store)
        handle: Any = store.storage
        self.database: Any = handle._handle._session._source
        self._get = partial(self.database.get, verify_checksums=True)
        self._codec, self._keys = codec, keys

    def validation(self, seed: int) -> Work:
        get, decode = self._get, self._codec._read_token
        copy_at = self._keys.TOKEN_KEY_BYTES + 1

        def find(token: str) -> None:
            decode(get(b"h" + sha256(token.encode()).digest())[copy_at:])

        return each(find, self.store.sample(tenants.api_token, seed))

    def secret_key(self, number: int) -> bytes:
        return self._keys.secret(tenants.place(number))

    def secret_reader(self) -> Callable[[bytes], bytes]:
        get, decode = self._get, self._codec._read_secret
        return lambda key: decode(get(key)[1:]).payload

    def pages(self, starts: Sequence[int], limit: int) -> Work:
        get, decode = self._get, self._codec._read_token
        iterator = partial(self.database.iterator, stop=self._keys.TOKENS_BY_AGE.stop, include_key=False)

        def read(start: bytes) -> None:
            with closing(iterator(start=start, verify_checksums=True)) as entries:
                for key in islice(entries, limit):
                    decode(get(key)[1:])

        by_age = self._keys.token_by_age
        return each(read, [by_age(tenants.created_at(after), tenants.tenant_hash(after)) + b"\0" for after in starts])

    def two_iterators(self, ranges: Iterable[tuple[tuple[bytes, bytes], ...]]) -> Work:
        """What two ranges of indexes hold: API tokens, or where they lie."""
        get, decode, split = self._get, self._codec._read_token, self._keys.split_entry

        def read(pair: tuple[tuple[bytes, bytes], ...]) -> None:
            for start, stop in pair:
                with closing(self.database.raw_iterator(verify_checksums=True)) as entries:
                    entries.seek(start)
                    while entries.valid() and entries.key() < stop:
                        key, copy = split(entries.value())
                        decode((copy or get(key))[1:])
                        entries.next()

        return each(read, ranges)


class RawSQL(Raw):
    """A connection of one's own, in autocommit, whose statements are prepared once where the driver can."""

    def __init__(self, store: Store, connection: Any, mark: str, **options: Any) -> None:
        super().__init__(store)
        self.connection = connection
        self._cursor = connection.cursor()
        self._mark = mark
        self._options = options

    def _execute(self, query: str, parameters: Sequence[Any]) -> Any:
        self._cursor.execute(query.replace("?", self._mark), parameters, **self._options)
        return self._cursor

    def _reader(self, query: str) -> Callable[[Sequence[Any]], Any]:
        text, cursor, options = query.replace("?", self._mark), self._cursor, self._options

        def read(parameters: Sequence[Any]) -> Any:
            cursor.execute(text, parameters, **options)
            return cursor.fetchone()

        return read

    def point_read(self, seed: int) -> Work:
        """One row by its primary key."""
        hashes = self.store.sample(lambda number: (self._text(tenants.tenant_hash(number)),), seed)
        return each(self._reader("SELECT * FROM api_tokens WHERE hash = ?"), hashes)

    def validation(self, seed: int) -> Work:
        return self.point_read(seed)

    def secret_key(self, number: int) -> tuple[str | bytes, str | bytes]:
        return self._text(tenants.tenant_hash(number)), self._text(tenants.SERVICE)

    def secret_reader(self) -> Callable[[Sequence[Any]], bytes]:
        read = self._reader("SELECT * FROM oauth_tokens WHERE tenant_hash = ? AND service = ?")
        return lambda key: bytes(read(key)[2])

    def pages(self, starts: Sequence[int], limit: int) -> Work:
        behind = "(created_at, hash) > (?, ?)"
        places: tuple[int, ...] = (0, 1)
        if self.store.scheme == "mariadb":
            # Which reads the index from its beginning for the other form.
            behind, places = "(created_at > ? OR created_at = ? AND hash > ?)", (0, 0, 1)
        text = f"SELECT * FROM api_tokens WHERE {behind} ORDER BY created_at, hash LIMIT ?"  # noqa: S608
        marks = [(tenants.created_at(after), self._text(tenants.tenant_hash(after))) for after in starts]
        cursors = [(*(mark[place] for place in places), limit) for mark in marks]
        return each(lambda cursor: self._execute(text, cursor).fetchall(), cursors)

    def _text(self, text: str) -> str | bytes:
        return text.encode() if self.store.scheme == "mariadb" else text

    def insert(self, records: Iterable[Record]) -> None:
        """Each record's row, in one transaction."""
        from fusion_store_sql import _rows

        if self.store.scheme == "sqlite":
            self._execute("BEGIN IMMEDIATE", ())
        else:
            self._cursor.execute("BEGIN")
        for record in records:
            row = _rows.to_row(record)
            self._execute(_INSERTS[type(record)], [row[name] for name in _COLUMNS[type(record)]])
        self._cursor.execute("COMMIT")


_COLUMNS: Final[dict[type[Record], tuple[str, ...]]] = {
    kind: (*(field.name for field in msgspec.structs.fields(kind)), "checksum")
    for kind in (TenantRecord, APITokenRecord)
}
_TABLES: Final[dict[type[Record], str]] = {TenantRecord: "tenants", APITokenRecord: "api_tokens"}
_INSERTS: Final = {
    kind: f"INSERT INTO {_TABLES[kind]} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
    for kind, names in _COLUMNS.items()
}


def raw_sql(store: Store) -> RawSQL:
    """A connection to the database of a store."""
    if store.scheme == "sqlite":
        connection = sqlite3.connect(make_url(store.url).database or "", isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")
        return RawSQL(store, connection, "?")
    url = make_url(store.url)
    if store.scheme == "postgresql":
        import psycopg

        return RawSQL(store, psycopg.connect(store.url, autocommit=True), "%s", prepare=True)
    import pymysql

    return RawSQL(
        store,
        pymysql.connect(
            host=url.host, port=url.port or 3306, user=url.username, password=url.password or "",
            database=url.database, autocommit=True,
        ),
        "%s",
    )  # fmt: skip


def raw(store: Store) -> RawLevelDB | RawSQL:
    """The driver of a store."""
    return RawLevelDB(store) if store.scheme == "leveldb" else raw_sql(store)


def new_tokens() -> Iterator[tuple[Record, Record]]:
    """Tenants as ``add_api_token`` makes them, each with its token."""
    while True:
        hash = os.urandom(32).hex()
        created_at = tenants.created_at(0)
        yield (
            TenantRecord(hash, created_at),
            APITokenRecord(hash, hash[:8], hash, "", (), created_at, None, None),
        )
