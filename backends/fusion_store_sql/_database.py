"""Questions and transactions on one database, with every error translated."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine

from fusion_store import Unavailable
from fusion_store_sql._errors import Deadlock, translate, translated, translated_commit
from fusion_store_sql._group import GroupCommit
from fusion_store_sql._prepared import Prepared, Rows
from fusion_store_sql._sessions import Session, Sessions

_ATTEMPTS: Final = 12
_PAUSE_SECONDS: Final = 0.005

T = TypeVar("T")


class Database:
    """Sessions in autocommit, and the statements that begin a snapshot and a writer's transaction.

    A session that the server has hung up on is replaced, when that shows at a call's first statement. ``is_fit`` is for
    a database with one writer, and answers whether a session may write; one that may not is replaced.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        snapshot: tuple[str, ...],
        writing: str,
        pool_size: int | None = None,
        idle_limit: int = 16,
        pool_timeout: float = 30,
        is_fit: Callable[[Session], bool] | None = None,
    ) -> None:
        self.engine = engine
        self._dialect = engine.dialect
        self._sessions = Sessions(engine, limit=pool_size, idle_limit=idle_limit, timeout=pool_timeout)
        self._snapshot = snapshot
        self._writing = writing
        self._group = None if is_fit is None else GroupCommit(self._sessions, writing, is_fit)

    def ask(self, question: Prepared, *values: Any) -> Rows:
        """All rows that a statement gives which writes nothing: one round trip, without a transaction around it."""
        form = question.form(self._dialect)
        try:
            session = self._started(form.sql, form.arguments(values))
            try:
                found = session.cursor.fetchall()
            except BaseException as error:
                self._release(session, error)
                raise
        except Exception as error:
            raise translate(error) or error from None
        self._sessions.give_back(session)
        return form.rows(found)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """For one statement that writes nothing."""
        with self._borrowed("SELECT 1") as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """For several statements that write nothing and see one moment of the database."""
        with self._borrowed(*self._snapshot) as connection:
            yield connection

    @contextmanager
    def _borrowed(self, *first: str) -> Iterator[Connection]:
        with translated():
            session = self._started(first[0])
            try:
                for statement in first[1:]:
                    session.cursor.execute(statement)
                yield session.connection
                session.driver.commit()
            except BaseException as error:
                self._release(session, error)
                raise
            self._sessions.give_back(session)

    def write(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` answers, its changes committed; rolled back when it raises.

        It is called again when the database broke it off to resolve a deadlock, or undid it with another one.
        """
        for attempt in range(1, _ATTEMPTS):
            try:
                return self._write(work)
            except Deadlock:
                time.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))  # noqa: S311
        return self._write(work)

    def _write(self, work: Callable[[Connection], T]) -> T:
        if self._group is not None:
            return self._group.write(work)
        with translated():
            session = self._started(self._writing)
            try:
                answer = work(session.connection)
                with translated_commit():
                    session.driver.commit()
            except BaseException as error:
                self._release(session, error)
                raise
            self._sessions.give_back(session)
            return answer

    def _started(self, statement: str, arguments: tuple[Any, ...] = ()) -> Session:
        """A session that has run the first statement of a call."""
        while True:
            session = self._sessions.take()
            try:
                session.cursor.execute(statement, arguments)
                return session
            except BaseException as error:
                if session.is_new or not isinstance(error, Exception) or not isinstance(translate(error), Unavailable):
                    self._release(session, error)
                    raise
                self._sessions.renew()
            self._sessions.discard(session)

    def _release(self, session: Session, error: BaseException) -> None:
        if isinstance(error, Exception):
            self._sessions.let_go(session)
        else:
            self._sessions.discard(session)

    def after_fork(self) -> None:
        """Go on in a forked child: the parent's connections are kept, untouched, and never used."""
        self._sessions.after_fork()
        if self._group is not None:
            self._group.reset()

    def close(self) -> None:
        """Close every connection."""
        with translated():
            self._sessions.close()
            self.engine.dispose()


def rows(connection: Connection, statement: Any, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """All rows that a statement gives, by column name."""
    return [dict(row) for row in connection.execute(statement, parameters or {}).mappings()]
