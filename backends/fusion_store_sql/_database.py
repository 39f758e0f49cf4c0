"""Transactions on one engine, with every error translated."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.pool import Pool

from fusion_store_sql._errors import translated, translated_commit

WRITING: Final = "fusion_store_writing"
"""The execution option that asks for a writer's transaction."""

_inherited: Final[list[Pool]] = []


class Database:
    """One engine. ``read`` and ``write`` each give a connection within one transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writers = engine.execution_options(**{WRITING: True})
        self._one_writer = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; nothing may be written."""
        with translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Committed at the end of the block, rolled back when it raises.

        On SQLite the threads of a process queue here, where waiting is cheap and fair, not at the file's lock.
        """
        with self._one_writer, translated(), self._writers.connect() as connection:
            transaction = connection.begin()
            yield connection
            with translated_commit():
                transaction.commit()

    def after_fork(self) -> None:
        """Go on in a forked child: the parent's connections are kept, untouched, and never used."""
        _inherited.append(self.engine.pool)
        self.engine.dispose(close=False)
        self._one_writer = threading.Lock()

    def close(self) -> None:
        """Close every connection."""
        with translated():
            self.engine.dispose()


def rows(connection: Connection, statement: Any, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """All rows that a statement gives, by column name."""
    return [dict(row) for row in connection.execute(statement, parameters or {}).mappings()]
