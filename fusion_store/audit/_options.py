"""How a process takes part in the audit of a store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from fusion_store._audit import AuditRecord, AuthenticationAttempt
from fusion_store._errors import ConfigError
from fusion_store.audit._switch import enable, settings
from fusion_store.backend import ATTEMPT_QUEUE_SIZE, AttemptRecorder, RecordRepository

_log: Final = logging.getLogger("fusion_store")


class AuditOptions(NamedTuple):
    """The ``audit`` argument of ``get_repository``.

    What a sink is given are sequences, called by any thread, for one change or batch at a time.
    """

    enable: bool = True
    """Make the store record its changes, if it doesn't yet; else only what it says counts."""
    keep: timedelta | None = None
    """For how long ``purge_expired`` leaves records; None: as the store says, else for ever."""
    sink: Callable[[Sequence[AuditRecord]], None] | None = None
    """Is given the records of each change that this process makes, before the change is made durable."""
    sink_required: bool = True
    """Whether a change fails with the sink (``Unavailable``, nothing is changed); else that is only logged."""
    attempts: Callable[[Sequence[AuthenticationAttempt]], None] | None = None
    """Is given every authentication attempt, later and by a thread of its own; it never makes a validation wait."""
    sample: float = 1.0
    """The share, from 0 to 1, of accepted attempts that ``attempts`` is given; refused ones it is given all."""
    queue_size: int = ATTEMPT_QUEUE_SIZE
    """How many attempts may wait; what comes on top is dropped, and counted."""

    def apply(self, storage: RecordRepository) -> None:
        """Begin to record changes as asked for. ``storage`` is the repository below all layers."""
        if not 0 <= self.sample <= 1:
            raise ConfigError("the sample of authentication attempts must be from 0 to 1")
        if self.queue_size < 1:
            raise ConfigError("the queue of authentication attempts must hold at least one")
        if self.sink is not None:
            storage.audit_sink = self.sink if self.sink_required else _forgiving(self.sink)
        if self.enable:
            standing = settings(storage)
            if standing is None or self.keep not in (None, standing.keep):
                enable(storage, keep=self.keep)

    def recorder(self) -> AttemptRecorder | None:
        """What the outermost repository is given as ``attempts``."""
        if self.attempts is None:
            return None
        return AttemptRecorder(self.attempts, sample=self.sample, queue_size=self.queue_size)


def _forgiving(sink: Callable[[Sequence[AuditRecord]], None]) -> Callable[[Sequence[AuditRecord]], None]:
    def try_sink(records: Sequence[AuditRecord]) -> None:
        try:
            sink(records)
        except Exception as error:
            _log.warning("the audit sink lost %d records: %s", len(records), type(error).__name__)

    return try_sink
