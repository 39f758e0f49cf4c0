"""Killed at any moment, no change stands without its record, and no record without its change."""

from __future__ import annotations

import random
import sys
from subprocess import PIPE, Popen

from fusion_store import get_repository
from fusion_store.audit import verify
from fusion_store.backend import CounterRecord, RecordRepository
from tests.audit.raw import RawTrail

ROUNDS = 5


def killed_after(raw: RawTrail, rounds: int) -> None:
    """A process that changes things, killed by SIGKILL while it goes on."""
    with Popen([sys.executable, "-m", "tests.audit.changing", raw.url], stdout=PIPE) as child:
        assert child.stdout is not None
        told = child.stdout.read(rounds)
        child.kill()
    assert told == b"." * rounds


def test_a_killed_process_leaves_changes_and_records_that_agree(raw: RawTrail) -> None:
    chance = random.Random()
    for _ in range(ROUNDS):
        killed_after(raw, chance.randint(1, 30))
        with get_repository(raw.url) as repository:
            assert isinstance(repository, RecordRepository)
            assert verify(repository).faults == ()
            compare(repository)


def compare(repository: RecordRepository) -> None:
    log = repository.audit_log(limit=1_000_000)
    created, ended = (
        {record.tenant_hash for record in log if record.action == action}
        for action in ("tenant.create", "tenant.delete")
    )
    assert {tenant.tenant_hash for tenant in repository.list_tenants(limit=1_000_000)} == created - ended
    counters = [record for record in repository.export_records() if isinstance(record, CounterRecord)]
    assert counters
    for counter in counters:
        place = counter.place
        told = [r.detail for r in log if (r.tenant_hash, r.service) == (place.tenant_hash, place.service)]
        assert sorted(d["version"] for d in told if "version" in d) == list(range(1, counter.version + 1))
        claimed = sorted(d["fence"] for d in told if "fence" in d and "version" not in d)
        assert claimed == list(range(1, counter.fence + 1))
