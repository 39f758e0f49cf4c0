"""Connections that stand open, each used by one call at a time."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Connection, Engine

from fusion_store import Busy

_inherited: Final[list[Session]] = []


class Session:
    """A connection in autocommit: a transaction is begun and ended by a statement of its own."""

    connection: Connection
    driver: Any
    cursor: Any

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.is_new = True
        """Whether no call has ended yet that used it; the server may have hung up on any other."""

    def open(self, engine: Engine) -> None:
        """Connect."""
        self.connection = engine.connect()
        self.driver = self.connection.connection.driver_connection
        self.cursor = self.driver.cursor()

    def reset(self) -> None:
        """Undo what a call that failed has left behind."""
        self.cursor.close()
        self.driver.rollback()
        self.cursor = self.driver.cursor()

    def close(self) -> None:
        """Hang up, whatever is under way."""
        with suppress(Exception):
            self.cursor.close()
        with suppress(Exception):
            self.connection.invalidate()
        self.connection.close()


class Sessions:
    """Up to ``limit`` sessions at a time, of which ``idle_limit`` are kept when nobody needs them.

    The one returned last is taken first. One that got lost, its thread being interrupted while it took it, counts no
    longer once it is collected.
    """

    def __init__(self, engine: Engine, *, limit: int | None, idle_limit: int, timeout: float) -> None:
        self._engine = engine
        self._limit = limit
        self._idle_limit = idle_limit
        self._timeout = timeout
        self._generation = 0
        self._start()

    def _start(self) -> None:
        self._idle = deque[Session]()
        self._all = weakref.WeakSet[Session]()
        self._waiting = 0
        self._changed = threading.Condition()

    def take(self) -> Session:
        """A session for the caller alone, who gives it back or discards it; ``Busy`` when none is free in time."""
        if not self._waiting:
            try:
                return self._idle.pop()
            except IndexError:
                pass
        with self._changed:
            self._waiting += 1
            try:
                session = self._changed.wait_for(self._next, self._timeout)
            finally:
                self._waiting -= 1
        if session is None:
            raise Busy("no database connection became free in time: pool_size and pool_timeout in the URL say how many")
        if session.is_new:
            try:
                session.open(self._engine)
            except BaseException:
                self._forget(session)
                raise
        return session

    def _next(self) -> Session | None:
        with suppress(IndexError):
            return self._idle.pop()
        if self._limit is not None and len(self._all) >= self._limit:
            return None
        session = Session(self._generation)
        self._all.add(session)
        return session

    def give_back(self, session: Session) -> None:
        """Let the next one have it."""
        session.is_new = False
        if session.generation != self._generation or len(self._idle) >= self._idle_limit:
            self.discard(session)
            return
        self._idle.append(session)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def let_go(self, session: Session) -> None:
        """Give back a session that a call failed on; one that can't be used any more is discarded."""
        try:
            session.reset()
        except Exception:
            self.discard(session)
        else:
            self.give_back(session)

    def discard(self, session: Session) -> None:
        """Close it, and make room for another one."""
        try:
            session.close()
        finally:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        with self._changed:
            self._all.discard(session)
            self._changed.notify()

    def renew(self) -> None:
        """Discard those that stand idle, and the others when they come back: the server has hung up on one."""
        self._generation += 1
        self.close()

    def close(self) -> None:
        """Close those that stand idle."""
        while True:
            try:
                session = self._idle.pop()
            except IndexError:
                return
            self.discard(session)

    def after_fork(self) -> None:
        """Go on in a forked child: the parent's connections are kept, untouched, and never used."""
        _inherited.extend(self._all)
        self._start()
