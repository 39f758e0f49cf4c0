"""The typed operations on the store as a whole."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from itertools import islice
from os import PathLike
from typing import Final

from fusion_store._errors import (
    CorruptRecord,
    CorruptStore,
    EncryptionError,
    NotEncrypted,
    StoreClosed,
    StoreError,
    Tampered,
    WrongKey,
)
from fusion_store._interface import HEALTH_TIMEOUT
from fusion_store._records import AuthCodeRecord, CounterRecord, ExportedRecord, MarkRecord, Record, SecretRecord
from fusion_store._values import CheckReport, CorruptPlace, Health, StoreStats
from fusion_store.backend import _limits as limits
from fusion_store.backend import _payloads as payloads
from fusion_store.backend._audit import AUDIT_MARK, settings_of
from fusion_store.backend._audit_log import AuditOperations
from fusion_store.backend._check import check_record
from fusion_store.backend._modes import ENCRYPTION_MARK, Mode, mode_of
from fusion_store.backend._operations import operation
from fusion_store.backend._storage import RecordPage

_PAGE: Final = 500
_IMPORT_BATCH: Final = 500
_PURGE_BATCH: Final = 1000
_ROUND_TRIPS: Final = 5
_WRONG_SEALS: Final = {
    NotEncrypted: "not sealed",
    WrongKey: "sealed with a key that isn't at hand",
    Tampered: "altered, or sealed for another place",
}


class SystemOperations(AuditOperations):
    """State, upkeep and transport."""

    @operation
    def schema_version(self) -> str:
        return self.read_schema_version()

    @operation
    def stats(self) -> StoreStats:
        return self.count_records(self._now())

    @operation
    def health(self, *, timeout: timedelta = HEALTH_TIMEOUT) -> Health:
        limits.later(0, timeout, "timeout")
        began = time.perf_counter()
        schema, failure = "", None
        try:
            schema = self._probe.run(self._round_trip, timeout.total_seconds())
        except StoreClosed:
            raise
        except StoreError as error:
            failure = f"{type(error).__name__}: {error}"
        return Health(
            ok=failure is None,
            backend=self.backend_name,
            latency=time.perf_counter() - began,
            schema=schema,
            encryption=self.encryption if failure is None else "",
            error=failure,
        )

    @operation
    def _round_trip(self) -> str:
        """Write, read and delete a mark; answers the schema's version.

        Of 256 names, so that there is an end to what checks leave behind that were killed. Another check may use the
        same one at the same time, but hardly again and again.
        """
        schema = self.read_schema_version()
        for _ in range(_ROUND_TRIPS):
            name, value = f"health.{secrets.token_hex(1)}", secrets.token_bytes(16)
            self.write_mark(name, value)
            read = self.read_mark(name)
            self.write_mark(name, None)
            if read == value:
                return schema
        raise CorruptRecord("mark", reason="read back other than written")

    @operation
    def check(self) -> CheckReport:
        records, corrupt = 0, list[CorruptPlace]()
        try:
            corrupt += self.find_damage()
            for page in self._pages(nullcontext()):
                records += len(page.records) + len(page.corrupt)
                corrupt += page.corrupt
                corrupt += filter(None, map(self._corruption, page.records))
            for chain in self.audit_chains():
                faults = self.audit_faults(chain)
                corrupt += (CorruptPlace("audit", fault.tenant_hash, "", fault.reason) for fault in faults)
        except CorruptRecord as error:
            corrupt.append(CorruptPlace(error.kind, error.tenant_hash, error.service, error.reason))
        except CorruptStore as error:
            corrupt.append(CorruptPlace("store", "", "", f"reading stopped: {error}"))
        return CheckReport(records, tuple(corrupt))

    def _corruption(self, record: Record) -> CorruptPlace | None:
        try:
            self.check_payload(record)
        except CorruptRecord as error:
            return CorruptPlace(error.kind, error.tenant_hash, error.service, error.reason)
        except EncryptionError as error:
            return CorruptPlace(error.kind, error.tenant_hash, error.service, _WRONG_SEALS[type(error)])
        return None

    def _pages(self, guard: AbstractContextManager[None]) -> Iterator[RecordPage]:
        after: str | None = None
        while True:
            with guard:
                page = self.scan_records(after, _PAGE)
            yield page
            after = page.after
            if after is None:
                return

    def check_payload(self, record: Record) -> None:
        """Raise ``CorruptRecord`` or an ``EncryptionError`` when a record's payload, if it has one, doesn't read."""
        if isinstance(record, SecretRecord | AuthCodeRecord):
            payloads.check_payload(record)

    def check_outgoing(self, record: Record) -> None:
        """As ``check_payload``, for a record to be exported as it is stored: a layer opens nothing for it."""
        self.check_payload(record)

    def check_incoming(self, record: Record) -> None:
        """As ``check_payload``, for a record to be imported, sealed or plain: a layer opens nothing for it."""
        self.check_payload(record)

    @operation
    def purge_expired(self) -> dict[str, int]:
        now = self._now()
        totals = {"codes": 0, "claims": 0, "credentials": 0, "api_tokens": 0}
        audit = self.audit_entry("purge", now=now)
        while any((purged := self.purge_records(now, _PURGE_BATCH, audit=audit)).values()):
            for name in totals:
                totals[name] += purged[name]
        return totals | self._purge_audit(now)

    def _purge_audit(self, now: int) -> dict[str, int]:
        settings = settings_of(self.read_mark(AUDIT_MARK))
        if settings is None or settings.keep_micros is None:
            return {}
        before, total = now - settings.keep_micros, 0
        while cut := self.cut_audit_chains(before, _PURGE_BATCH, audit=self.audit_entry("audit.purge", now=now)):
            total += cut
        return {"audit_records": total}

    @operation
    def backup(self, path: str | PathLike[str]) -> None:
        self._last_used.flush()
        self.backup_storage(path)

    def export_records(self) -> Iterator[ExportedRecord]:
        self.guard.check()
        return self._export_records()

    def _export_records(self) -> Iterator[ExportedRecord]:
        self.flush()
        with self.guard:
            mark = self.read_mark(ENCRYPTION_MARK)
        if mark is not None and mode_of(mark) is Mode.SEALED:
            yield MarkRecord(ENCRYPTION_MARK, mark)
        for page in self._pages(self.guard):
            if page.corrupt:
                place = page.corrupt[0]
                raise CorruptRecord(
                    place.kind, tenant_hash=place.tenant_hash, service=place.service, reason=place.reason
                )
            for record in page.records:
                self.guard.check()
                self.check_outgoing(record)
                yield record.without_claim() if isinstance(record, CounterRecord) else record

    def import_records(self, records: Iterable[ExportedRecord]) -> int:
        self.guard.check()
        added, source, mode = 0, iter(records), self.mode
        while batch := [check_record(record) for record in islice(source, _IMPORT_BATCH)]:
            with self.guard:
                mode = self._incoming_mode(batch, mode)
                incoming = [record for record in batch if not isinstance(record, MarkRecord)]
                if mode_of(mode) is mode_of(self.mode):
                    for record in incoming:
                        self.check_incoming(record)
                added += self.insert_records(incoming, mode, audit=self.audit_entry("records.import"))
        return added

    def _incoming_mode(self, batch: list[ExportedRecord], mode: bytes) -> bytes:
        marks = [record.value for record in batch if isinstance(record, MarkRecord)]
        return marks[-1] if marks and mode_of(self.mode) is Mode.PLAIN else mode
