"""Questions and transactions on one database, with every error translated."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine

from fusion_store import Unavailable
from fusion_store_sql._errors import Deadlock, translate, translated, translated_commit
from fusion_store_sql._prepared import Prepared, Rows
from fusion_store_sql._sessions import Session, Sessions

_ATTEMPTS: Final = 12
_PAUSE_SECONDS: Final = 0.005

T = TypeVar("T")


def _any(session: Session) -> bool:  # noqa: ARG001
    return True


class Database:
    """Sessions in autocommit, and the statements that begin a snapshot and a writer's transaction.

    ``is_fit`` answers whether a session may write; one that may not is replaced. A session that the server has hung up
    on is replaced too, when that shows at a call's first statement.
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
        one_writer: bool = False,
        is_fit: Callable[[Session], bool] = _any,
    ) -> None:
        self.engine = engine
        self._dialect = engine.dialect
        self._sessions = Sessions(engine, limit=pool_size, idle_limit=idle_limit, timeout=pool_timeout)
        self._snapshot = snapshot
        self._writing = writing
        self._is_fit = is_fit
        self._has_one_writer = one_writer
        self._writers_turn = self._new_turn()

    def _new_turn(self) -> threading.Lock | nullcontext[None]:
        return threading.Lock() if self._has_one_writer else nullcontext()

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
        with self._writers_turn, translated():
            session = self._started(self._writing, is_fit=self._is_fit)
            try:
                answer = work(session.connection)
                with translated_commit():
                    session.driver.commit()
            except BaseException as error:
                self._release(session, error)
                raise
            self._sessions.give_back(session)
            return answer

    def _started(
        self, statement: str, arguments: tuple[Any, ...] = (), is_fit: Callable[[Session], bool] = _any
    ) -> Session:
        """A session that has run the first statement of a call."""
        while True:
            session = self._sessions.take()
            try:
                if is_fit(session):
                    session.cursor.execute(statement, arguments)
                    return session
            except BaseException as error:
                if session.is_new or not isinstance(error, Exception) or not isinstance(translate(error), Unavailable):
                    self._release(session, error)
                    raise
                self._sessions.renew()
            self._sessions.discard(session)

    def _release(self, session: Session, error: BaseException) -> None:
        """Let go of a session that a call failed on; one that can't be used any more is discarded."""
        if isinstance(error, Exception):
            with suppress(Exception):
                session.reset()
                self._sessions.give_back(session)
                return
        self._sessions.discard(session)

    def after_fork(self) -> None:
        """Go on in a forked child: the parent's connections are kept, untouched, and never used."""
        self._sessions.after_fork()
        self._writers_turn = self._new_turn()

    def close(self) -> None:
        """Close every connection."""
        with translated():
            self._sessions.close()
            self.engine.dispose()


def rows(connection: Connection, statement: Any, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """All rows that a statement gives, by column name."""
    return [dict(row) for row in connection.execute(statement, parameters or {}).mappings()]
