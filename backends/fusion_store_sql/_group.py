"""Group commit: of the threads that write at a time, one commits for all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar, cast

from sqlalchemy import Connection

from fusion_store import OutcomeUnknown, ReadOnly
from fusion_store_sql._errors import translate, translated_commit
from fusion_store_sql._sessions import Session, Sessions

T = TypeVar("T")

_LOST_LEADER_SECONDS: Final = 1.0
"""After so long one who waits looks for itself: whoever was to lead may have been interrupted."""

_MOST_GATHERED: Final = 128
"""With so many changes a transaction takes no more on that came while it ran."""


class _Change(Generic[T]):
    """What one thread wants written, and what became of it."""

    def __init__(self, work: Callable[[Connection], T]) -> None:
        self._work = work
        self._calls = SimpleQueue[None]()
        self._answer: T | None = None
        self._error: Exception | None = None
        self.is_out = False
        """Whether it failed after it had written something, so that it isn't tried again."""
        self.is_run_anew = False
        """Whether sessions were opened anew for it."""
        self.is_done = False

    @property
    def has_failed(self) -> bool:
        return self._error is not None

    @property
    def found_read_only(self) -> bool:
        return isinstance(self._error, ReadOnly)

    def run(self, connection: Connection) -> None:
        self._error = None
        try:
            self._answer = self._work(connection)
        except Exception as error:
            self.fail(translate(error) or error)

    def fail(self, error: Exception) -> None:
        self._error = error

    def finish(self) -> None:
        """It won't be touched any more: its thread may go on."""
        self.is_done = True
        self.wake()

    def wait(self, seconds: float) -> None:
        """Until somebody wakes the thread, or for so long."""
        with suppress(Empty):
            self._calls.get(timeout=seconds)

    def wake(self) -> None:
        self._calls.put(None)

    def outcome(self) -> T:
        error, self._error = self._error, None
        if error is None:
            return cast(T, self._answer)
        try:
            raise error
        finally:
            # It holds the frame that holds it.
            del error


class GroupCommit:
    """One transaction at a time, with the changes of all threads that wait for it: for a database with one writer.

    The first one to wait while a transaction is under way leads the next. No other thread competes with it for that, so
    that those who come meanwhile gather behind it. Each learns its outcome when the commit is over. Where a change
    failed after it had written something, everything is undone and the others are run again.

    The main thread, in which signals interrupt, leads for itself alone.
    """

    def __init__(self, sessions: Sessions, begin: str, is_fit: Callable[[Session], bool]) -> None:
        self._sessions = sessions
        self._begin = begin
        self._is_fit = is_fit
        self.reset()

    def reset(self) -> None:
        """Start anew, as after a fork: the other threads are gone."""
        self._queue = deque[_Change[Any]]()
        self._queue_lock = threading.Lock()
        self._turn = threading.Lock()
        self._session: Session | None = None

    def write(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` answers, its changes committed; rolled back when it raises. Any of the threads may call it."""
        change = _Change(work)
        try:
            with self._queue_lock:
                self._queue.append(change)
                is_first = len(self._queue) == 1
            if not is_first:
                change.wait(_LOST_LEADER_SECONDS)
            if not change.is_done:
                self._lead(change)
        except BaseException:
            self._leave(change)
            raise
        return change.outcome()

    def _lead(self, change: _Change[Any]) -> None:
        with self._turn:
            if change.is_done:
                return
            try:
                self._hang_up()
                if threading.current_thread() is threading.main_thread():
                    self._commit([change] if self._leave(change) else [], gathers=False)
                else:
                    self._commit(self._waiting(), gathers=True)
            finally:
                self._hang_up()
            if not change.is_done:
                raise OutcomeUnknown("the thread that was committing the change was interrupted")

    def _waiting(self) -> list[_Change[Any]]:
        # One that is being added while the queue is taken would be neither here nor there.
        with self._queue_lock:
            waiting, self._queue = self._queue, deque()
        return list(waiting)

    def _leave(self, change: _Change[Any]) -> bool:
        """Take a change out of the queue, and let the next one lead; False when it isn't there any more."""
        with self._queue_lock:
            if change not in self._queue:
                return False
            self._queue.remove(change)
            if self._queue:
                self._queue[0].wake()
            return True

    def _commit(self, changes: list[_Change[Any]], *, gathers: bool) -> None:
        failure: Exception | None = OutcomeUnknown("the thread that was committing the change was interrupted")
        try:
            is_over = False
            while not is_over:
                standing = [change for change in changes if not change.is_out]
                is_over = not standing or self._is_committed(standing, changes if gathers else None)
            failure = None
        except Exception as error:
            failure = translate(error) or error
        finally:
            for change in changes:
                # A conflict, too, counts only if what it was with has been committed.
                if failure is not None and not change.is_out:
                    change.fail(copy(failure))
                change.finish()

    def _is_committed(self, standing: list[_Change[Any]], everyone: list[_Change[Any]] | None) -> bool:
        """False when a change failed half-way or for want of a session that may write, the others being undone with it.

        Those who come meanwhile join ``everyone``.
        """
        session = self._begun()
        driver = session.driver
        try:
            for change in standing:
                before = driver.total_changes
                change.run(session.connection)
                if change.found_read_only and not change.is_run_anew:
                    # Where a file couldn't be opened for writing, be it for a moment, SQLite has opened it for reading
                    # only, and the index of its log for all sessions.
                    change.is_run_anew = True
                    self._hang_up()
                    self._sessions.renew()
                    return False
                if change.has_failed and (driver.total_changes != before or not driver.in_transaction):
                    change.is_out = True
                    self._end(session)
                    return False
                if everyone is not None and change is standing[-1] and len(everyone) < _MOST_GATHERED:
                    latecomers = self._waiting()
                    everyone += latecomers
                    standing += latecomers
            with translated_commit():
                driver.commit()
        except Exception:
            self._end(session)
            raise
        self._session = None
        self._sessions.give_back(session)
        return True

    def _begun(self) -> Session:
        while True:
            session = self._sessions.take()
            try:
                if self._is_fit(session):
                    self._session = session
                    session.cursor.execute(self._begin)
                    return session
            except Exception:
                self._end(session)
                raise
            self._sessions.discard(session)

    def _end(self, session: Session) -> None:
        """Roll back, and let go of the session."""
        self._sessions.let_go(session)
        self._session = None

    def _hang_up(self) -> None:
        """Close the session of a transaction that was interrupted: it would go on holding the database's lock."""
        session, self._session = self._session, None
        if session is not None:
            self._sessions.discard(session)
