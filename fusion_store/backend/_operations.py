"""What all typed operations stand on: the guard, the clock, the last-used coalescer, and the end of life."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

from fusion_store._audit import AuditEntry, AuditRecord, current_actor
from fusion_store._errors import ConfigError, ForkedHandle, FusionStoreError, InvalidInput, Unavailable
from fusion_store.backend import _limits as limits
from fusion_store.backend._attempts import AttemptRecorder
from fusion_store.backend._guard import InFlightGuard
from fusion_store.backend._last_used import LastUsedCoalescer
from fusion_store.backend._modes import PLAIN_MARK
from fusion_store.backend._probe import Probe
from fusion_store.backend._storage import Storage

_log: Final = logging.getLogger("fusion_store")

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Operations")


def operation(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Runs a typed operation inside the in-flight guard."""

    @wraps(method)
    def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.guard:
            return method(self, *args, **kwargs)

    return guarded


class Operations(Storage):
    """The base of the typed operations.

    ``encryption`` says whether payloads are ``plain`` or ``encrypted``; ``mode`` is the mark of stores with such.

    ``clock`` answers the present as an aware datetime; by default it is the system's. ``guard`` and ``last_used`` are
    given by a layer, which shares those of the repository it wraps.
    """

    encryption: str = "plain"
    mode: bytes = PLAIN_MARK
    audit_sink: Callable[[Sequence[AuditRecord]], None] | None = None
    """Is given the audit records of a change before the change is made durable; what it raises fails the change."""
    attempts: AttemptRecorder | None = None
    """Is told of every validation."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] | None = None,
        token_prefix: str | None = None,
        guard: InFlightGuard | None = None,
        last_used: LastUsedCoalescer | None = None,
    ) -> None:
        try:
            self.token_prefix = limits.token_prefix(token_prefix)
        except InvalidInput as error:
            raise ConfigError(str(error)) from None
        self.clock = clock
        self.guard = InFlightGuard() if guard is None else guard
        self._last_used = last_used or LastUsedCoalescer(self._write_last_used, guard=self.guard)
        self._probe = Probe[str]()
        _open_repositories.add(self)

    def _now(self) -> int:
        if self.clock is None:
            return time.time_ns() // 1000
        return limits.micros(self.clock(), "clock")

    def _moment(self) -> datetime:
        return datetime.now(UTC) if self.clock is None else limits.moment(self._now())

    def audit_entry(
        self,
        action: str,
        *,
        now: int | None = None,
        token_id: str = "",
        tenant_hash: str = "",
        detail: Mapping[str, int] | None = None,
    ) -> AuditEntry:
        """The entry of a change that is about to be made, now and by the present actor."""
        return AuditEntry(
            action=action,
            recorded_at=self._now() if now is None else now,
            actor=current_actor(),
            token_id=token_id,
            tenant_hash=tenant_hash,
            detail=detail or {},
        )

    def hand_to_sink(self, records: Sequence[AuditRecord]) -> None:
        """Give the records of a change to ``audit_sink``; ``Unavailable`` when it fails, and then nothing may change.

        Called by the storage operations, as the last thing before a change is made durable.
        """
        if self.audit_sink is None or not records:
            return
        try:
            self.audit_sink(records)
        except Exception as error:
            raise Unavailable(f"the audit sink failed ({type(error).__name__}): nothing was changed") from None

    @operation
    def flush(self) -> None:
        self._last_used.flush()

    def last_used_backlog(self) -> int:
        """How many API tokens were used since their last use was written."""
        return self._last_used.backlog()

    def _write_last_used(self, last_used: Mapping[str, int]) -> None:
        self.touch_api_tokens(last_used)

    def close(self) -> None:
        if self.guard.close():
            self.finish()

    def finish(self) -> None:
        """The end of ``close``, when no call is under way: write what was collected, and release the storage."""
        _open_repositories.discard(self)
        self._last_used.stop()
        if self.attempts is not None:
            self.attempts.stop()
        try:
            self.touch_api_tokens(self._last_used.take())
        except FusionStoreError as error:
            _log.warning("last-used times lost at close: %s", type(error).__name__)
        finally:
            self.close_storage()

    def after_fork(self) -> None:
        self._last_used.reset()
        self.guard.reset()
        self.guard.refuse(ForkedHandle)


_open_repositories: weakref.WeakSet[Operations] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for repository in list(_open_repositories):
        repository.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
