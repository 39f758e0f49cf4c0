"""Audit records and authentication attempts as JSON."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
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
        self._lock = threading.Lock()

    def __call__(self, records: Sequence[AuditRecord | AuthenticationAttempt]) -> None:
        data = memoryview(b"".join(map(line, records)))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with self._lock:
            descriptor = os.open(self.path, flags, 0o600)
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
