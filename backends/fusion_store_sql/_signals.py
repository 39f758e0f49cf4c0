"""Looking at the change signal several times a second, by a connection that does nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from sqlalchemy import Engine, select

from fusion_store_sql._errors import translated
from fusion_store_sql._marks import CHANGES
from fusion_store_sql._schema import signals

_SIGNAL = select(signals.c.value).where(signals.c.name == CHANGES)


@contextmanager
def server_signal(engine: Engine) -> Iterator[Callable[[], int]]:
    """One statement a look, committed by itself, on one connection of that engine."""
    with translated(), engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:

        def read() -> int:
            value: int = connection.scalars(_SIGNAL).one()
            return value

        yield read


@contextmanager
def sqlite_signal(connect: Callable[[], sqlite3.Connection]) -> Iterator[Callable[[], int]]:
    """The signal is read only after something was committed to the file, be it by another thread of this process."""
    with translated(), closing(connect()) as connection:
        connection.execute("PRAGMA query_only = ON")
        statement = str(_SIGNAL.compile(compile_kwargs={"literal_binds": True}))
        seen = -1
        value = 0

        def read() -> int:
            nonlocal seen, value
            # In this order: what is committed in between is seen at the next look.
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if version != seen:
                ((value,),) = connection.execute(statement)
                seen = version
            return value

        yield read
