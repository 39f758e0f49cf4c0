"""Writing a store to a dump."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

from fusion_store.backend import (
    ENCRYPTION_MARK,
    ExportedRecord,
    MarkRecord,
    Mode,
    RecordRepository,
    mode_of,
    write_dump,
)
from fusion_store.transfer._reading import encryption_mark, refuse_unfinished, scan_tenants
from fusion_store.transfer._reports import DumpReport, Progress


def dump(source: RecordRepository, path: str | PathLike[str], *, progress: Progress | None = None) -> DumpReport:
    """Write all records of a store to a new file, which ``restore`` reads into any backend.

    Each page of tenants is one consistent view; between pages others may write. Raises ``CorruptRecord`` for a record
    that doesn't read, and what ``fusion_store.backend.write_dump`` does; nothing is left at ``path`` then.
    """
    refuse_unfinished(source)
    source.flush()
    reading = _Reading(source, progress)
    records = write_dump(path, reading.records())
    return DumpReport(reading.tenants, records)


class _Reading:
    def __init__(self, source: RecordRepository, progress: Progress | None) -> None:
        self._source = source
        self._progress = progress
        self.tenants = 0

    def records(self) -> Iterator[ExportedRecord]:
        mark = encryption_mark(self._source)
        if mode_of(mark) is Mode.SEALED:
            yield MarkRecord(ENCRYPTION_MARK, mark)
        for tenant in scan_tenants(self._source):
            yield from tenant.records
            self.tenants += 1
            if self._progress is not None:
                self._progress(1)
