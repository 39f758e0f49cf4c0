"""Whether a store records its changes: a mark in the store itself, which every process reads with each change."""

from __future__ import annotations

from datetime import timedelta

from fusion_store._errors import InvalidInput
from fusion_store.backend import AUDIT_MARK, AuditSettings, RecordRepository, encode_settings, settings_of


def enable(repository: RecordRepository, *, keep: timedelta | None = None) -> AuditSettings:
    """From now on, record each change of the store, by whatever process; a record of its own says so.

    ``keep``: for how long ``purge_expired`` leaves records; None: for ever. Where changes are recorded already, this
    alone is changed.
    """
    if keep is not None and not (isinstance(keep, timedelta) and keep > timedelta(0)):
        raise InvalidInput("keep", "must be a positive timedelta")
    wanted = AuditSettings(None if keep is None else keep // timedelta(microseconds=1))
    with repository.guard:
        if settings_of(repository.read_mark(AUDIT_MARK)) != wanted:
            detail = {} if wanted.keep_micros is None else {"keep": wanted.keep_micros}
            entry = repository.audit_entry("audit.enable", detail=detail)
            repository.write_mark(AUDIT_MARK, encode_settings(wanted), audit=entry)
    return wanted


def disable(repository: RecordRepository) -> bool:
    """Record nothing more, except that; what was recorded stays. False when nothing was recorded before."""
    with repository.guard:
        if repository.read_mark(AUDIT_MARK) is None:
            return False
        repository.write_mark(AUDIT_MARK, None, audit=repository.audit_entry("audit.disable"))
        return True


def settings(repository: RecordRepository) -> AuditSettings | None:
    """How the store records its changes; None when it doesn't."""
    with repository.guard:
        return settings_of(repository.read_mark(AUDIT_MARK))
