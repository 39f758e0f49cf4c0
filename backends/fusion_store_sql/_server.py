"""What PostgreSQL and MariaDB have in common: a pool, a lock for migrations, a backup that is a dump."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    delete,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool

from fusion_store import ConfigError, CorruptRecord
from fusion_store.backend import (
    ENCRYPTION_MARK,
    CounterRecord,
    ExportedRecord,
    MarkRecord,
    Mode,
    StoreURL,
    mode_of,
    write_dump,
)
from fusion_store_sql._database import Database
from fusion_store_sql._errors import translated
from fusion_store_sql._location import Location
from fusion_store_sql._marks import read_mark
from fusion_store_sql._scan import scan_page
from fusion_store_sql._schema import LOCK_TABLE
from fusion_store_sql._signals import server_signal

POOL_PARAMETERS: Final = ("pool_size", "pool_timeout", "connect_timeout", "statement_timeout", "lock_timeout")
"""What every server's URL may say."""

_DUMP_PAGE: Final = 100
_LOCK_ATTEMPTS: Final = 8
_LOCK_PAUSE_SECONDS: Final = 0.05
_LOCKED: Final = 1
"""The row that is locked."""
_UNFINISHED: Final = 2
"""Stands while a vault is being made where a migration that is cut short leaves something behind."""
_lock: Final = Table(LOCK_TABLE, MetaData(), Column("id", Integer, primary_key=True, autoincrement=False))


class Limits(NamedTuple):
    """How many connections a process opens, and how long it waits, in seconds; a statement or lock of 0 for ever."""

    pool_size: int
    pool_timeout: float
    connect_timeout: float
    statement_timeout: float
    lock_timeout: float

    @classmethod
    def of(cls, url: StoreURL) -> Limits:
        """What the URL's query says, or the default."""
        return cls(
            url.integer("pool_size", 5, 1, 1000),
            url.seconds("pool_timeout", 30),
            url.seconds("connect_timeout", 10),
            url.seconds("statement_timeout", 30),
            url.seconds("lock_timeout", 30),
        )


class ServerLocation(Location):
    """A database on a server."""

    driver: ClassVar[str]
    """SQLAlchemy's name of dialect and driver."""
    snapshot: ClassVar[tuple[str, ...]]
    writing: ClassVar[str]
    """As ``Database`` has these two."""

    def __init__(self, url: StoreURL) -> None:
        self.name = url.scheme
        self.limits = Limits.of(url)
        database = url.path.removeprefix("/")
        if not database or "/" in database:
            raise ConfigError(f"the {url.scheme} URL names no database: {url.scheme}://user@host/database")
        self._url = URL.create(self.driver, url.username, url.password, url.host, url.port, database)

    @abstractmethod
    def connect_args(self) -> dict[str, Any]:
        """What the driver is told when it connects."""

    def tables(self) -> set[str]:
        with self._connection() as connection:
            return set(inspect(connection).get_table_names())

    def revisions(self) -> set[str]:
        with self._connection() as connection:
            return set(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars())

    def prepare(self) -> None:
        """The database has to stand: users who may create one are rare, and it has an owner and an encoding."""
        if self.atomic_ddl:
            return
        with self._connection() as connection:
            _create_lock(connection)
            # Others may be about to make the same vault.
            with suppress(IntegrityError), connection.begin():
                connection.execute(insert(_lock), {"id": _UNFINISHED})

    def finish(self) -> None:
        if not self.atomic_ddl:
            with self._connection() as connection, connection.begin():
                connection.execute(delete(_lock).where(_lock.c.id == _UNFINISHED))

    def is_unfinished(self) -> bool:
        if self.atomic_ddl:
            return False
        with self._connection() as connection:
            return connection.scalar(select(_lock).where(_lock.c.id == _UNFINISHED)) is not None

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        with self._connection() as guard:
            _create_lock(guard)
            with guard.begin():
                guard.execute(select(_lock).where(_lock.c.id == _LOCKED).with_for_update())
                if self.atomic_ddl:
                    yield guard
                    return
                # The server ends the transaction, and with it the lock, at each change of the schema.
                with self._connection() as connection, connection.begin():
                    yield connection

    def connect(self) -> Database:
        limits = self.limits
        return Database(
            self._engine("AUTOCOMMIT"),
            snapshot=self.snapshot,
            writing=self.writing,
            pool_size=limits.pool_size,
            idle_limit=limits.pool_size,
            pool_timeout=limits.pool_timeout,
        )

    def signal_reader(self) -> AbstractContextManager[Callable[[], int]]:
        return server_signal(self._engine())

    def _engine(self, isolation_level: str = "READ COMMITTED") -> Engine:
        return create_engine(
            self._url,
            connect_args=self.connect_args(),
            hide_parameters=True,
            isolation_level=isolation_level,
            paramstyle="format",
            poolclass=NullPool,
        )

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with translated(), self._engine().connect() as connection:
            yield connection

    def backup(self, database: Database, path: Path) -> None:
        with database.snapshot() as connection:
            write_dump(path, _all_records(connection))


def _create_lock(connection: Connection) -> None:
    """Make the row that migrations lock.

    A row is the one lock that every server has, behind every pooler.
    """
    for attempt in range(1, _LOCK_ATTEMPTS + 1):
        try:
            with connection.begin():
                _lock.create(connection, checkfirst=True)
                if connection.scalar(select(_lock).where(_lock.c.id == _LOCKED)) is None:
                    connection.execute(insert(_lock), {"id": _LOCKED})
            return
        except DBAPIError:
            # Servers, too, check first and create then: of two that begin at once one fails, and finds it next time.
            if attempt == _LOCK_ATTEMPTS:
                raise
            time.sleep(_LOCK_PAUSE_SECONDS * attempt)


def _all_records(connection: Connection) -> Iterator[ExportedRecord]:
    mark = read_mark(connection, ENCRYPTION_MARK)
    if mark is not None and mode_of(mark) is Mode.SEALED:
        yield MarkRecord(ENCRYPTION_MARK, mark)
    after: str | None = None
    while True:
        page = scan_page(connection, after, _DUMP_PAGE)
        for place in page.corrupt:
            raise CorruptRecord(place.kind, tenant_hash=place.tenant_hash, service=place.service, reason=place.reason)
        for record in page.records:
            yield record.without_claim() if isinstance(record, CounterRecord) else record
        after = page.after
        if after is None:
            return
