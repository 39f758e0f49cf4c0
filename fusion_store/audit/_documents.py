"""Audit records and authentication attempts as JSON."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from fusion_store._audit import AuditRecord, AuthenticationAttempt
from fusion_store._errors import InvalidInput

_encode: Final = msgspec.json.Encoder(order="sorted").encode


def document(record: AuditRecord | AuthenticationAttempt) -> dict[str, Any]:
    """All that a record says, ready for JSON; ``at`` says in ISO 8601 what ``recorded_at`` does in microseconds."""
    at = record.at.isoformat().replace("+00:00", "Z")
    return {"at": at, **msgspec.structs.asdict(record)}


def line(record: AuditRecord | AuthenticationAttempt) -> bytes:
    """``document`` as one line of JSON."""
    return _encode(document(record)) + b"\n"


class JSONLinesFile:
    """A sink: appends each record to a file as a line of JSON, durably; the file is created with mode 0600.

    Many threads and processes may append to one file, which may be moved away meanwhile (logrotate).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not os.fspath(path):
            raise InvalidInput("path", "must name a file")
        self.path = Path(path).absolute()
        self._torn = False
        self.reset()
        _files.add(self)

    def reset(self) -> None:
        """Start anew, as after a fork: what the parent is writing is the parent's."""
        self._lock = threading.Lock()

    def __call__(self, records: Sequence[AuditRecord | AuthenticationAttempt]) -> None:
        lines = b"".join(map(line, records))
        with self._lock:
            # What a failed write left must not become the beginning of a record.
            data = memoryview(b"\n" + lines if self._torn else lines)
            descriptor = self._open()
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
                    self._torn = bool(data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        with suppress(FileNotFoundError):
            return os.open(self.path, flags)
        descriptor = os.open(self.path, flags | os.O_CREAT, 0o600)
        try:
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


_files: Final[weakref.WeakSet[JSONLinesFile]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for file in list(_files):
        file.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
