"""Transactions on one engine, with every error translated."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.pool import Pool

from fusion_store_sql._errors import Deadlock, translated, translated_commit

WRITING: Final = "fusion_store_writing"
"""The execution option that asks SQLite for a writer's transaction."""

_ATTEMPTS: Final = 12
_PAUSE_SECONDS: Final = 0.005

T = TypeVar("T")

_inherited: Final[list[Pool]] = []


class Database:
    """One engine, and what its connections are told for reading, for a snapshot and for writing."""

    def __init__(
        self,
        engine: Engine,
        *,
        reading: Mapping[str, Any] | None = None,
        snapshot: Mapping[str, Any] | None = None,
        writing: Mapping[str, Any] | None = None,
        one_writer: bool = False,
    ) -> None:
        self.engine = engine
        self._readers = engine.execution_options(**reading or {})
        self._snapshots = engine.execution_options(**snapshot or {})
        self._writers = engine.execution_options(**writing or {})
        self._has_one_writer = one_writer
        self._writers_turn = self._new_turn()

    def _new_turn(self) -> threading.Lock | nullcontext[None]:
        return threading.Lock() if self._has_one_writer else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """For one statement that writes nothing."""
        with translated(), self._readers.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """For several statements that write nothing and see one moment of the database."""
        with translated(), self._snapshots.connect() as connection, connection.begin():
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` answers, its changes committed; rolled back when it raises.

        It is called again when the database broke it off to resolve a deadlock. On SQLite the threads of a process
        queue here, where waiting is cheap and fair, not at the file's lock.
        """
        for attempt in range(1, _ATTEMPTS):
            try:
                return self._write(work)
            except Deadlock:
                time.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))  # noqa: S311
        return self._write(work)

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self._writers_turn, translated(), self._writers.connect() as connection:
            transaction = connection.begin()
            answer = work(connection)
            with translated_commit():
                transaction.commit()
            return answer

    def after_fork(self) -> None:
        """Go on in a forked child: the parent's connections are kept, untouched, and never used."""
        _inherited.append(self.engine.pool)
        self.engine.dispose(close=False)
        self._writers_turn = self._new_turn()

    def close(self) -> None:
        """Close every connection."""
        with translated():
            self.engine.dispose()


def rows(connection: Connection, statement: Any, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """All rows that a statement gives, by column name."""
    return [dict(row) for row in connection.execute(statement, parameters or {}).mappings()]
