"""Whatever is done to audit records behind the vault's back is found, and named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from fusion_store import AuditRecord, CorruptRecord, OAuthTokenData, get_repository
from fusion_store.audit import AuditFault, AuditOptions, AuditReport, disable, enable, read_anchor, verify, write_anchor
from fusion_store.backend import AUDIT_MARK, AuditChain, AuditSettings, RecordRepository, encode_settings
from fusion_store.testing import ManualClock
from tests.audit.raw import RawLevelDB, RawTrail

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tenants(raw: RawTrail, clock: ManualClock) -> list[str]:
    """Two tenants of a closed vault, with six audit records each; the first is the one that is tampered with."""
    with opened(raw, clock) as repository:
        found = []
        for _ in range(2):
            tenant = repository.add_api_token().metadata.tenant_hash
            for number in range(4):
                repository.store_oauth_token(tenant, f"service {number}", OAuthTokenData("a"))
            found.append(tenant)
        assert verify(repository) == AuditReport(3, 13, ())
        return found


def opened(raw: RawTrail, clock: ManualClock) -> RecordRepository:
    repository = get_repository(raw.url, audit=True, clock=clock)
    assert isinstance(repository, RecordRepository)
    return repository


def faults(raw: RawTrail, clock: ManualClock, anchor: Path | None = None) -> list[AuditFault]:
    with opened(raw, clock) as repository:
        found = list(verify(repository, anchor).faults)
        check = repository.check()
        if anchor is None:
            assert [place.reason for place in check.corrupt if place.kind == "audit"] == [f.reason for f in found]
            assert check.ok is (not found)
    return found


OTHER: dict[str, Any] = {
    "recorded_at": 5,
    "action": "oauth.delete",
    "actor": "nobody",
    "outcome": "expired",
    "service": "other",
    "credential_type": "custom",
    "token_id": "0123456789abcdef",
    "key_id": "0123456789abcdef",
    "previous": "0" * 64,
    "hash": "0" * 64,
}


@pytest.mark.parametrize("field", OTHER)
def test_a_field_that_was_altered(raw: RawTrail, clock: ManualClock, tenants: list[str], field: str) -> None:
    raw.alter(tenants[0], 3, **{field: OTHER[field]})
    assert AuditFault(tenants[0], 3, "record 3 was altered, or moved from its place") in faults(raw, clock)
    with opened(raw, clock) as repository:
        with pytest.raises(CorruptRecord, match="record 3 was altered"):
            repository.audit_log(tenant_hash=tenants[0])
        assert len(repository.audit_log(tenant_hash=tenants[1])) == 6


def test_a_record_that_was_altered_beyond_reading(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    raw.spoil(tenants[0], 3)
    assert AuditFault(tenants[0], 3, "record 3 was altered, or moved from its place") in faults(raw, clock)


@pytest.mark.parametrize("sequence", range(1, 7))
def test_a_record_that_was_removed(raw: RawTrail, clock: ManualClock, tenants: list[str], sequence: int) -> None:
    raw.remove(tenants[0], sequence)
    assert faults(raw, clock) == [AuditFault(tenants[0], sequence, f"record {sequence} is missing")]


def test_several_records_that_were_removed(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    for sequence in (2, 3, 5, 6):
        raw.remove(tenants[0], sequence)
    assert [fault.reason for fault in faults(raw, clock)] == [
        "records 2 to 3 are missing",
        "records 5 to 6 are missing",
    ]


def test_records_that_were_reordered(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    raw.swap(tenants[0], 3, 5)
    assert {fault.sequence for fault in faults(raw, clock)} >= {3, 5}


def test_a_record_that_was_moved_from_another_tenant(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    raw.write(tenants[0], 3, raw.read(tenants[1], 3))
    assert faults(raw, clock)[0].sequence == 3


def test_a_record_that_was_made_up_with_a_hash_that_fits(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    forge(raw, clock, tenants[0], 3)
    assert faults(raw, clock) == [AuditFault(tenants[0], 4, "record 4 isn't the one that followed record 3")]


def test_a_newest_record_that_was_made_up(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    forge(raw, clock, tenants[0], 6)
    assert faults(raw, clock) == [AuditFault(tenants[0], 6, "record 6 isn't the one that the chain ended with")]


def forge(raw: RawTrail, clock: ManualClock, tenant: str, sequence: int) -> None:
    """Change who made a change, with the hash that belongs to it."""
    with opened(raw, clock) as repository:
        record = repository.audit_log(tenant_hash=tenant)[sequence - 1]
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    hash = AuditRecord(**{**fields, "actor": "nobody"}).computed_hash()
    assert hash is not None
    raw.alter(tenant, sequence, actor="nobody", hash=hash)


@pytest.mark.parametrize("sequence", [0, -1])
def test_a_record_before_the_beginning(raw: RawTrail, clock: ManualClock, tenants: list[str], sequence: int) -> None:
    if sequence < 0 and isinstance(raw, RawLevelDB):
        return  # its keys hold none
    raw.write(tenants[0], sequence, raw.read(tenants[0], 6))
    assert faults(raw, clock) == [AuditFault(tenants[0], sequence, f"record {sequence} lies outside the chain")]


def test_a_purge_leaves_what_lies_before_the_beginning(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    raw.write(tenants[0], 0, raw.read(tenants[0], 6))
    with opened(raw, clock) as repository:
        enable(repository, keep=DAY)
        clock.advance(DAY * 2)
        assert repository.purge_expired()["audit_records"] == 14
    assert faults(raw, clock) == [AuditFault(tenants[0], 0, "record 0 lies outside the chain")]


def test_a_record_in_a_place_of_a_longer_name(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    name = tenants[0] + "ff"
    raw.write(name, 3, raw.read(tenants[0], 3))
    assert "record 3 lies outside the chain" in [fault.reason for fault in faults(raw, clock)]


def test_a_chain_of_no_tenant_is_named_and_hides_no_fault(
    raw: RawTrail, clock: ManualClock, tenants: list[str]
) -> None:
    raw.remove(tenants[0], 4)
    before = format(int(tenants[0], 16) - 1, "064x") + "00"
    raw.write_chain(before, 1, 0, "", 0)
    assert faults(raw, clock) == [
        AuditFault(before, 1, "a chain whose name is no tenant's hash"),
        AuditFault(tenants[0], 4, "record 4 is missing"),
    ]


def test_a_chain_that_says_another_time_for_its_end(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    raw.write_chain(tenants[0], 1, 6, raw.read(tenants[0], 6)["hash"], 0)
    assert faults(raw, clock) == [AuditFault(tenants[0], 6, "record 6 wasn't recorded when the chain says it was")]


def test_a_record_behind_the_end(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    raw.write(tenants[0], 9, raw.read(tenants[0], 6))
    assert faults(raw, clock) == [AuditFault(tenants[0], 9, "record 9 lies outside the chain")]


def test_a_chain_whose_end_was_lost(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    raw.remove_chain(tenants[0])
    assert [fault.sequence for fault in faults(raw, clock)] == [1, 2, 3, 4, 5, 6]
    with opened(raw, clock) as repository:
        with pytest.raises(CorruptRecord, match="doesn't end where it says"):
            repository.store_oauth_token(tenants[0], "new", OAuthTokenData("a"))
        assert repository.get_oauth_token(tenants[0], "new") is None
        repository.store_oauth_token(tenants[1], "new", OAuthTokenData("a"))
    assert [fault.sequence for fault in faults(raw, clock)] == [1, 2, 3, 4, 5, 6]


def test_oldest_records_that_were_removed_as_if_by_a_purge(
    raw: RawTrail, clock: ManualClock, tenants: list[str]
) -> None:
    raw.remove(tenants[0], 1)
    raw.end_chain(tenants[0], 2, 6)
    with opened(raw, clock) as repository:
        assert verify(repository).faults == (
            AuditFault(tenants[0], 1, "the oldest records are gone, but nothing was purged"),
        )


def truncate(raw: RawTrail, tenants: list[str]) -> None:
    raw.remove(tenants[0], 6)
    raw.remove(tenants[0], 5)
    raw.end_chain(tenants[0], 1, 4)


def wipe(raw: RawTrail, tenants: list[str]) -> None:
    for sequence in range(1, 7):
        raw.remove(tenants[0], sequence)
    raw.remove_chain(tenants[0])


def remake(raw: RawTrail, tenants: list[str]) -> None:
    forge(raw, ManualClock(), tenants[0], 6)
    raw.end_chain(tenants[0], 1, 6)


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (truncate, "record 6 was anchored, and is missing"),
        (wipe, "records 1 to 6 are missing"),
        (remake, "record 6 isn't the one that was anchored"),
    ],
)
def test_what_only_an_anchor_shows(  # noqa: PLR0917
    raw: RawTrail,
    clock: ManualClock,
    tenants: list[str],
    tmp_path: Path,
    tamper: Callable[[RawTrail, list[str]], None],
    reason: str,
) -> None:
    anchor = tmp_path / "anchor"
    with opened(raw, clock) as repository:
        assert write_anchor(repository, anchor) == 3
        repository.store_oauth_token(tenants[1], "later", OAuthTokenData("a"))
    assert faults(raw, clock, anchor) == []

    tamper(raw, tenants)

    assert faults(raw, clock) == []
    assert [(fault.tenant_hash, fault.reason) for fault in faults(raw, clock, anchor)] == [(tenants[0], reason)]


def test_purged_records_are_no_fault_to_an_anchor(
    raw: RawTrail, clock: ManualClock, tenants: list[str], tmp_path: Path
) -> None:
    anchor = tmp_path / "anchor"
    with opened(raw, clock) as repository:
        write_anchor(repository, anchor)
        enable(repository, keep=DAY)
        repository.delete_tenant(tenants[0])
        clock.advance(DAY * 2)
        assert repository.purge_expired()["audit_records"] == 15
        assert verify(repository, anchor).faults == ()
        assert verify(repository).chains == 2
    later = tmp_path / "later"
    with opened(raw, clock) as repository:
        repository.store_oauth_token(tenants[1], "new", OAuthTokenData("a"))
        write_anchor(repository, later)
    raw.remove(tenants[1], 7)
    raw.write_chain(tenants[1], 7, 6, sha256(b"").hexdigest(), 0)
    assert [fault.sequence for fault in faults(raw, clock, later)] == [7]


def purged(raw: RawTrail, clock: ManualClock) -> str:
    """A tenant that was made after a purge, two records long."""
    with opened(raw, clock) as repository:
        enable(repository, keep=DAY)
        clock.advance(DAY * 2)
        assert repository.purge_expired()["audit_records"] == 14
        return repository.add_api_token().hash


def test_no_purge_explains_that_newer_records_are_gone(
    raw: RawTrail, clock: ManualClock, tenants: list[str], tmp_path: Path
) -> None:
    anchor = tmp_path / "anchor"
    tenant = purged(raw, clock)
    with opened(raw, clock) as repository:
        write_anchor(repository, anchor)
    assert faults(raw, clock, anchor) == []
    raw.remove(tenant, 1)
    raw.end_chain(tenant, 2, 2)

    assert faults(raw, clock) == []
    assert faults(raw, clock, anchor) == [AuditFault(tenant, 1, "record 1 was anchored, and is missing")]

    with opened(raw, clock) as repository:
        clock.advance(DAY * 2)
        repository.store_oauth_token(tenant, "later", OAuthTokenData("a"))
        assert repository.purge_expired()["audit_records"]
        assert verify(repository, anchor).faults == ()


def test_an_anchor_of_before_knows_ends_only(
    raw: RawTrail, clock: ManualClock, tenants: list[str], tmp_path: Path
) -> None:
    anchor = tmp_path / "anchor"
    tenant = purged(raw, clock)
    with opened(raw, clock) as repository:
        write_anchor(repository, anchor)
    ends = [
        {name: value for name, value in json.loads(line).items() if not name.startswith("first")}
        for line in anchor.read_text().splitlines()
    ]
    ends[0]["audit_anchor"] = 1
    anchor.write_text("".join(json.dumps(end) + "\n" for end in ends))
    raw.remove(tenant, 1)
    raw.end_chain(tenant, 2, 2)
    assert faults(raw, clock, anchor) == []
    raw.remove(tenant, 2)
    raw.remove_chain(tenant)
    assert faults(raw, clock, anchor) == [AuditFault(tenant, 1, "records 1 to 2 are missing")]


def test_an_anchor_has_its_times_from_the_records(
    raw: RawTrail, clock: ManualClock, tenants: list[str], tmp_path: Path
) -> None:
    anchor = tmp_path / "anchor"
    tenant = purged(raw, clock)
    raw.write_chain(tenant, 1, 2, raw.read(tenant, 2)["hash"], 0)
    with opened(raw, clock) as repository:
        write_anchor(repository, anchor)
    for sequence in (1, 2):
        raw.remove(tenant, sequence)
    raw.remove_chain(tenant)
    assert faults(raw, clock, anchor) == [AuditFault(tenant, 1, "records 1 to 2 are missing")]


def test_a_purge_while_an_anchor_is_compared_is_no_fault(
    raw: RawTrail, clock: ManualClock, tenants: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchor = tmp_path / "anchor"
    with opened(raw, clock) as repository:
        enable(repository, keep=DAY)
        repository.delete_tenant(tenants[0])
        write_anchor(repository, anchor)
        clock.advance(DAY * 2)
        began = repository.audit_chains

        def purge_first() -> Iterator[AuditChain]:
            repository.purge_expired()
            return began()

        monkeypatch.setattr(repository, "audit_chains", purge_first)
        assert verify(repository, anchor).faults == ()


def test_a_mark_that_nobody_took_away_or_set(raw: RawTrail, clock: ManualClock, tenants: list[str]) -> None:
    for mark, reason in (
        (None, "changes aren't recorded any more, but nobody turned that off"),
        (AuditSettings(keep_micros=1), "records aren't kept as long as was recorded"),
    ):
        assert switched(raw, clock, mark) == [AuditFault("", 1, reason)]
    with opened(raw, clock) as repository:
        disable(repository)
        assert verify(repository).faults == ()
    reason = "changes are recorded, but that was turned off"
    assert switched(raw, clock, AuditSettings()) == [AuditFault("", 2, reason)]


def test_a_mark_that_nobody_took_away_when_the_record_of_it_is_purged(
    raw: RawTrail, clock: ManualClock, tenants: list[str]
) -> None:
    purged(raw, clock)
    assert switched(raw, clock, AuditSettings(keep_micros=DAY // timedelta(microseconds=1))) == []
    reason = "changes aren't recorded any more, but nobody turned that off"
    assert [fault.reason for fault in switched(raw, clock, None)] == [reason]


def switched(raw: RawTrail, clock: ManualClock, mark: AuditSettings | None) -> list[AuditFault]:
    """What verifying finds where that mark was written, and no record of it; the mark is put right afterwards."""
    with get_repository(raw.url, clock=clock) as repository:
        assert isinstance(repository, RecordRepository)
        before = repository.read_mark(AUDIT_MARK)
        repository.write_mark(AUDIT_MARK, None if mark is None else encode_settings(mark))
        found = list(verify(repository).faults)
        repository.write_mark(AUDIT_MARK, before)
        return found


def test_an_anchor_is_a_new_private_file_in_order(
    raw: RawTrail, clock: ManualClock, tenants: list[str], tmp_path: Path
) -> None:
    from fusion_store import AlreadyExists, InvalidInput, StorageIO

    anchor = tmp_path / "anchor"
    with opened(raw, clock) as repository:
        write_anchor(repository, anchor)
        with pytest.raises(AlreadyExists):
            write_anchor(repository, anchor)
        with pytest.raises(StorageIO):
            write_anchor(repository, tmp_path / "none" / "anchor")
    assert anchor.stat().st_mode & 0o777 == 0o600
    assert [chain.tenant_hash for chain in read_anchor(anchor)] == ["", *sorted(tenants)]
    whole = anchor.read_bytes()
    lines = whole.splitlines(keepends=True)
    for spoiled in (
        b"",
        b"x",
        whole[:-1][:-10],
        b"".join(lines[:-1]),
        b"".join(lines[:2] + lines[3:]),
        whole + b"\n",
        b"".join([lines[0], lines[2], lines[1], *lines[3:]]),
        whole.replace(b'"audit_anchor":2', b'"audit_anchor":3'),
    ):
        anchor.write_bytes(spoiled)
        with pytest.raises(InvalidInput, match="anchor"):
            list(read_anchor(anchor))
    with pytest.raises(InvalidInput, match="anchor"):
        list(read_anchor(tmp_path / "none"))


def test_options_don_t_undo_what_the_store_says(raw: RawTrail, clock: ManualClock) -> None:
    from fusion_store.audit import settings

    for options, keep in ((AuditOptions(keep=DAY), DAY), (AuditOptions(), DAY), (AuditOptions(keep=DAY * 2), DAY * 2)):
        with get_repository(raw.url, audit=options, clock=clock) as repository:
            assert isinstance(repository, RecordRepository)
            found = settings(repository)
            assert found is not None
            assert found.keep == keep
