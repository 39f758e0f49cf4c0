"""All checks of a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from fusion_store._errors import CorruptRecord, CorruptStore, FusionStoreError, SchemaOutOfDate, SchemaTooNew
from fusion_store._registry import encrypted
from fusion_store._values import CorruptPlace
from fusion_store.backend import Backend, OpenOptions, RecordRepository, StoreURL
from fusion_store.doctor._files import free_bytes, open_files
from fusion_store.doctor._finding import Finding, Growth
from fusion_store.doctor._records import DAY, GROWTH_DAYS, Progress, RecordSurvey
from fusion_store.layers import Keyring

UNUSED_FOR: Final = timedelta(days=90)
_FULL_SOON_DAYS: Final = 90
_EXAMPLES: Final = 5
_MICROSECOND: Final = timedelta(microseconds=1)


class Diagnosis(NamedTuple):
    """What was found, problems first; and what couldn't be looked at."""

    findings: list[Finding]
    not_examined: list[str]
    records: int
    growth: Growth | None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; there may be advice."""
        return not any(finding.problem for finding in self.findings)


def diagnose(
    backend: Backend,
    url: StoreURL,
    *,
    keyring: Keyring | None = None,
    unused_for: timedelta = UNUSED_FOR,
    now: Callable[[], int] = lambda: time.time_ns() // 1000,
    progress: Progress | None = None,
) -> Diagnosis:
    """Examine the store at ``url``; changes nothing in it but a test record of ``health``.

    ``keyring`` opens its payloads; without one those of a sealed store aren't looked into. An outdated schema is a
    finding, and nothing else is examined then. What can't be counted behind a damaged place is named as not examined.
    Raises what opening the store does.
    """
    paths = backend.files(url)
    findings, not_examined = list(open_files(paths)), list[str]()
    try:
        storage = backend.open(url, OpenOptions(create=False))
    except (SchemaOutOfDate, SchemaTooNew) as error:
        findings.append(_schema_finding(error))
        return Diagnosis(findings, ["records: the schema is another release's"], 0, None)
    growth = None
    survey = RecordSurvey(now(), unused_for // _MICROSECOND, keyring)
    try:
        repository = encrypted(storage, keyring)
        findings += _health(repository)
        findings += _corrupt(repository.check().corrupt)
        try:
            survey.run(repository, progress)
            growth = _growth(survey, repository.stats().bytes_on_disk, free_bytes(paths), now())
        except (CorruptRecord, CorruptStore) as error:
            not_examined.append(f"what lies behind a damaged place: {error}")
    finally:
        storage.close()
    findings += survey.findings()
    if survey.unread_payloads:
        not_examined.append(f"{survey.unread_payloads} payloads: sealed, and no keys are at hand")
    findings += _full_soon(growth)
    return Diagnosis(sorted(findings, key=lambda f: not f.problem), not_examined, survey.records, growth)


def _schema_finding(error: FusionStoreError) -> Finding:
    advice = "fusion-store schema upgrade" if isinstance(error, SchemaOutOfDate) else "install the newer release"
    return Finding("schema", True, 1, str(error), advice)


def _health(repository: RecordRepository) -> Iterator[Finding]:
    health = repository.health()
    if health.error is not None:
        yield Finding("health", True, 1, health.error, "the store can't be written: look at its disk, locks and server")


def _corrupt(places: Sequence[CorruptPlace]) -> Iterator[Finding]:
    if places:
        yield Finding(
            "corrupt_records",
            True,
            len(places),
            f"corrupt, or under keys that are missing: {len(places)}",
            "fusion-store check says which and why; give the missing keys, or restore a backup",
            tuple(" ".join(filter(None, (p.kind, p.tenant_hash[:16], p.service))) for p in places[:_EXAMPLES]),
        )


def _growth(survey: RecordSurvey, bytes_on_disk: int, free: int | None, now: int) -> Growth:
    age = (now - survey.oldest) / DAY
    if age < 1:
        return Growth(bytes_on_disk, 1.0, 0.0, free)
    days = min(GROWTH_DAYS, age)
    return Growth(bytes_on_disk, days, bytes_on_disk * survey.new_share / days, free)


def _full_soon(growth: Growth | None) -> Iterator[Finding]:
    left = None if growth is None else growth.full_in_days
    if growth is not None and left is not None and left < _FULL_SOON_DAYS:
        yield Finding(
            "disk_full_soon",
            True,
            1,
            f"at the pace of the last {growth.days:.0f} days the disk is full in {left:.0f} days",
            "make room, or move the store: fusion-store copy",
        )
