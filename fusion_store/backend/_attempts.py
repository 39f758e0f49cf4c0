"""Hands on what becomes of every API token that somebody presents, without ever making a validation wait."""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final
from zlib import crc32

from fusion_store._audit import AuthenticationAttempt, current_actor
from fusion_store._records import APITokenRecord
from fusion_store._values import APITokenMetadata
from fusion_store.backend._audit import TOKEN_ID_CHARS
from fusion_store.backend._fork import background_work
from fusion_store.backend._tokens import base62, hash_token

QUEUE_SIZE: Final = 10_000
_BATCH: Final = 500
_CLOSE_SECONDS: Final = 2.0
_is_issued: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_read_prefixed: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,15}_([0-9A-Za-z]{43})([0-9A-Za-z]{6})").fullmatch

_log: Final = logging.getLogger("fusion_store")


class AttemptRecorder:
    """Gives attempts to ``sink``, in batches and by a thread of its own; those that don't fit its queue are dropped.

    ``sample``: the share of the accepted ones that is handed on, from 0 to 1; refused ones all are.
    """

    def __init__(
        self,
        sink: Callable[[Sequence[AuthenticationAttempt]], None],
        *,
        sample: float = 1.0,
        queue_size: int = QUEUE_SIZE,
    ) -> None:
        self._sink = sink
        self._sample = sample
        self._queue_size = queue_size
        self.dropped = 0
        """How many attempts were lost, since the queue was full, the sink failed or no thread could be started."""
        self.reset()
        _recorders.add(self)

    def reset(self) -> None:
        """Forget what waits, as after a fork: the parent hands it on."""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._waiting: deque[AuthenticationAttempt] = deque()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def accept(self, token: APITokenRecord | APITokenMetadata, now: int) -> None:
        """A live token was presented."""
        if self._sample >= 1 or random.random() < self._sample:  # noqa: S311
            self._put("accepted", now, token.hash, token.tenant_hash)

    def refuse(self, presented: object, found: APITokenRecord | None, now: int) -> None:
        """Something else was presented, for which perhaps a token was found that has expired."""
        if found is not None:
            self._put("expired", now, found.hash, found.tenant_hash)
            return
        hash = hash_token(presented) if _may_be_issued(presented) else None
        self._put("malformed" if hash is None else "unknown", now, hash or "")

    def _put(self, outcome: str, now: int, hash: str, tenant_hash: str = "") -> None:
        attempt = AuthenticationAttempt(now, outcome, hash[:TOKEN_ID_CHARS], tenant_hash, current_actor())
        with self._lock:
            if self._stopped or len(self._waiting) >= self._queue_size or not self._has_thread():
                self.dropped += 1
                return
            self._waiting.append(attempt)
        self._wake.set()

    def _has_thread(self) -> bool:
        """Whether a thread hands on what waits; begins it, unless the system has none to give."""
        if self._thread is None:
            thread = threading.Thread(
                target=_hand_on_until_stopped,
                args=(weakref.ref(self, _waking(self._wake)), self._wake),
                name="fusion-store-attempts",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def stop(self) -> None:
        """Hand on what waits, for two seconds at most, and end."""
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_SECONDS)

    def _hand_on(self) -> bool:
        """Give the sink a batch; False when this was the last one."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            if not batch:
                self._wake.clear()
                return not self._stopped
        try:
            with background_work():
                self._sink(batch)
        except BaseException as error:
            # Whatever it is, also an exit: nobody else would hand on what waits.
            with self._lock:
                self.dropped += len(batch)
            _log.warning("%d authentication attempts lost: the sink failed: %s", len(batch), type(error).__name__)
        return True


_recorders: Final[weakref.WeakSet[AttemptRecorder]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for recorder in list(_recorders):
        recorder.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _hand_on_until_stopped(recorder: weakref.ref[AttemptRecorder], wake: threading.Event) -> None:
    while True:
        wake.wait()
        standing = recorder()
        if standing is None or not standing._hand_on():
            return
        del standing


def _waking(wake: threading.Event) -> Callable[[object], None]:
    """For when the recorder is forgotten: its thread is to see that."""
    return lambda _: wake.set()


def _may_be_issued(token: object) -> bool:
    """Whether a token has the form of those that are issued here: what else is presented may be anybody's password."""
    if not isinstance(token, str):
        return False
    prefixed = _read_prefixed(token)
    if prefixed is None:
        return _is_issued(token) is not None
    body, tail = prefixed.groups()
    return base62(crc32(body.encode()), len(tail)) == tail
