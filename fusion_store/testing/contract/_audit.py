from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from fusion_store import (
    SYSTEM_TENANT,
    AsyncTokenRepository,
    AuditRecord,
    ClaimLost,
    CredentialType,
    InvalidInput,
    StoreLocked,
    TenantNotFound,
    TokenNotFound,
    TokenRepository,
    Unavailable,
    VersionConflict,
    acting_as,
)
from fusion_store.backend import (
    AUDIT_MARK,
    PLAIN_MARK,
    SEALED_MAGIC,
    AuditChain,
    AuditSettings,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    RecordRepository,
    SecretRecord,
    TenantRecord,
    encode_settings,
)
from fusion_store.testing import ContractStore, ManualClock
from fusion_store.testing._worker import SHARED, Plan
from fusion_store.testing.contract._making import (
    CANARY,
    UNKNOWN,
    api_key,
    at_once,
    crafted_hash,
    crafted_tenant,
    exported,
    micros,
    new_tenant,
    oauth,
)
from fusion_store.testing.contract._processes import _run_all

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEPT = AuditSettings(keep_micros=DAY // timedelta(microseconds=1))


def trail(repository: TokenRepository, tenant_hash: str | None) -> list[AuditRecord]:
    """A whole chain, which has to be one."""
    records = repository.audit_log(tenant_hash=tenant_hash, limit=100_000)
    for one, following in pairwise(records):
        assert (following.sequence, following.previous) == (one.sequence + 1, one.hash)
    return records


def actions(repository: TokenRepository, tenant_hash: str) -> list[str]:
    return [record.action for record in trail(repository, tenant_hash)]


def shown(record: AuditRecord) -> dict[str, Any]:
    """What a record says besides its place in the chain, without what is empty."""
    chain = ("sequence", "previous", "hash", "recorded_at", "key_id")
    fields = {name: getattr(record, name) for name in record.__struct_fields__ if name not in chain}
    return {name: value for name, value in fields.items() if value}


def test_nothing_is_recorded_unless_asked_for(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth())
    assert repository.audit_log() == []


def test_every_operation_records_what_it_did(audited: TokenRepository, clock: ManualClock) -> None:
    with acting_as("ops@example"):
        issued = audited.add_api_token("mine")
        tenant = issued.metadata.tenant_hash
        second = audited.add_api_token(tenant_hash=tenant)
        audited.store_oauth_token(tenant, "github", oauth())
        audited.store_oauth_token(tenant, "github", oauth("new"))
        claim = audited.claim_refresh(tenant, "github", ttl=HOUR)
        assert claim is not None
        audited.commit_refresh(claim, oauth("newer"))
        claim = audited.claim_refresh(tenant, "github", ttl=HOUR)
        assert claim is not None
        audited.release_refresh(claim)
        assert audited.delete_oauth_token(tenant, "github")
        audited.store_credentials(tenant, "mail", api_key())
        assert audited.delete_credentials(tenant, "mail", CredentialType.API_KEY)
        code = audited.create_auth_code(tenant, "github", ttl=HOUR)
        assert audited.redeem_auth_code(code)
        rotated = audited.rotate_api_token(second.hash)
        assert audited.delete_api_token(issued.hash)
        assert audited.delete_tenant(tenant)

    who = {"actor": "ops@example", "tenant_hash": tenant, "outcome": "ok"}
    github = {**who, "service": "github"}
    mail = {**who, "service": "mail", "credential_type": "api_key"}
    assert [shown(record) for record in trail(audited, tenant)] == [
        {**who, "action": "tenant.create"},
        {**who, "action": "api_token.add", "token_id": issued.hash[:16]},
        {**who, "action": "api_token.add", "token_id": second.hash[:16]},
        {**github, "action": "oauth.store", "detail": {"version": 1}},
        {**github, "action": "oauth.store", "detail": {"version": 2}},
        {**github, "action": "refresh.claim", "detail": {"fence": 1}},
        {**github, "action": "refresh.commit", "detail": {"fence": 1, "version": 3}},
        {**github, "action": "refresh.claim", "detail": {"fence": 2}},
        {**github, "action": "refresh.release", "detail": {"fence": 2}},
        {**github, "action": "oauth.delete"},
        {**mail, "action": "credentials.store", "detail": {"version": 1}},
        {**mail, "action": "credentials.delete"},
        {**github, "action": "auth_code.create"},
        {**github, "action": "auth_code.redeem"},
        {**who, "action": "api_token.rotate", "token_id": second.hash[:16]},
        {**who, "action": "api_token.add", "token_id": rotated.hash[:16]},
        {**who, "action": "api_token.delete", "token_id": issued.hash[:16]},
        {**who, "action": "tenant.delete"},
    ]
    assert {record.at for record in trail(audited, tenant)} == {clock.now}
    assert [shown(record) for record in trail(audited, "")] == [{"action": "audit.enable", "outcome": "ok"}]
    assert audited.check().ok


def test_the_system_tenants_changes_are_recorded_under_it(audited: TokenRepository) -> None:
    audited.store_oauth_token(SYSTEM_TENANT, "client", oauth())
    assert actions(audited, SYSTEM_TENANT) == ["oauth.store"]


def test_a_record_says_when_and_who_and_nothing_where_nobody_said(audited: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(audited)
    clock.advance(HOUR)
    with acting_as("outer"):
        with acting_as("inner"):
            audited.store_oauth_token(tenant, "a", oauth())
        audited.store_oauth_token(tenant, "b", oauth())
    records = trail(audited, tenant)
    assert [record.actor for record in records] == ["", "", "inner", "outer"]
    assert records[-1].at - records[0].at == HOUR


def test_a_coroutine_acts_as_whoever_it_is_called_by(audited: TokenRepository) -> None:
    async def act(vault: AsyncTokenRepository, actor: str) -> str:
        with acting_as(actor):
            await asyncio.sleep(0)
            return (await vault.add_api_token()).hash

    async def main() -> list[str]:
        vault = AsyncTokenRepository(audited)
        return await asyncio.gather(*(act(vault, f"task {number}") for number in range(4)))

    for number, tenant in enumerate(asyncio.run(main())):
        assert {record.actor for record in trail(audited, tenant)} == {f"task {number}"}


@pytest.mark.parametrize("actor", ["", "a" * 257, "a\nb", "a\0", "\ud800", None, b"ops"])
def test_a_name_that_no_record_can_hold_is_refused(actor: Any) -> None:
    with pytest.raises(InvalidInput, match="actor"), acting_as(actor):
        pass


def test_a_record_names_the_key_that_sealed_what_was_written(audited: TokenRepository) -> None:
    tenant = new_tenant(audited)
    audited.store_oauth_token(tenant, "github", oauth())
    audited.create_auth_code(tenant, "github", ttl=HOUR)
    payloads = [record.payload for record in exported(audited) if isinstance(record, SecretRecord | AuthCodeRecord)]
    key_ids = {payload[4:12].hex() if payload.startswith(SEALED_MAGIC) else "" for payload in payloads}
    assert {record.key_id for record in trail(audited, tenant)[2:]} == key_ids


def test_no_record_holds_a_secret(audited: TokenRepository) -> None:
    issued = audited.add_api_token(CANARY, scopes=[CANARY])
    tenant = issued.metadata.tenant_hash
    audited.store_oauth_token(tenant, "github", oauth(CANARY, CANARY, metadata={"a": CANARY}, scope=(CANARY,)))
    audited.store_credentials(tenant, "mail", api_key(CANARY))
    code = audited.create_auth_code(tenant, "github", ttl=HOUR, payload={"a": CANARY})
    audited.redeem_auth_code(code)
    audited.rotate_api_token(issued.hash)
    text = repr(audited.audit_log())
    assert not [secret for secret in (CANARY, issued.token, code) if secret in text]


def test_what_changes_nothing_leaves_no_record(audited: TokenRepository, clock: ManualClock) -> None:
    issued = audited.add_api_token()
    tenant = issued.metadata.tenant_hash
    audited.store_oauth_token(tenant, "github", oauth())
    claim = audited.claim_refresh(tenant, "github", ttl=HOUR)
    assert claim is not None
    audited.release_refresh(claim)
    before = audited.audit_log()

    audited.validate_api_token(issued.token)
    audited.get_oauth_token(tenant, "github")
    audited.flush()
    assert not audited.delete_api_token(UNKNOWN)
    assert not audited.delete_tenant(UNKNOWN)
    assert not audited.delete_oauth_token(tenant, "none")
    assert not audited.delete_oauth_token(UNKNOWN, "none")
    assert not audited.delete_credentials(tenant, "none", CredentialType.CUSTOM)
    assert audited.redeem_auth_code("none") is None
    audited.release_refresh(claim)
    for error, change in (
        (VersionConflict, lambda: audited.store_oauth_token(tenant, "github", oauth(), expected_version=7)),
        (VersionConflict, lambda: audited.delete_oauth_token(tenant, "github", expected_version=7)),
        (TenantNotFound, lambda: audited.store_oauth_token(UNKNOWN, "github", oauth())),
        (TenantNotFound, lambda: audited.add_api_token(tenant_hash=UNKNOWN)),
        (TenantNotFound, lambda: audited.create_auth_code(UNKNOWN, "github", ttl=HOUR)),
        (TenantNotFound, lambda: audited.claim_refresh(UNKNOWN, "github", ttl=HOUR)),
        (TokenNotFound, lambda: audited.rotate_api_token(UNKNOWN)),
        (ClaimLost, lambda: audited.commit_refresh(claim, oauth())),
    ):
        with pytest.raises(error):
            change()
    audited.health()
    audited.purge_expired()
    audited.import_records(list(audited.export_records()))
    assert audited.audit_log() == before


def test_deleting_what_had_expired_says_so(audited: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(audited)
    code = audited.create_auth_code(tenant, "github", ttl=HOUR)
    audited.store_credentials(tenant, "mail", api_key(expires_at=clock.now + HOUR))
    clock.advance(HOUR)
    assert audited.redeem_auth_code(code) is None
    assert not audited.delete_credentials(tenant, "mail", CredentialType.API_KEY)
    assert [(r.action, r.outcome) for r in trail(audited, tenant)[-2:]] == [
        ("auth_code.redeem", "expired"),
        ("credentials.delete", "expired"),
    ]


def test_purging_records_each_thing_that_goes(audited: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(audited)
    token = audited.add_api_token(tenant_hash=tenant, expires_at=clock.now + HOUR)
    audited.create_auth_code(tenant, "code", ttl=HOUR)
    audited.store_credentials(tenant, "mail", api_key(expires_at=clock.now + HOUR))
    audited.claim_refresh(tenant, "github", ttl=HOUR)
    standing = len(trail(audited, tenant))
    clock.advance(HOUR)
    with acting_as("cron"):
        purged = audited.purge_expired()
    assert purged == {"codes": 1, "claims": 1, "credentials": 1, "api_tokens": 1}

    who = {"actor": "cron", "tenant_hash": tenant, "outcome": "expired"}
    assert sorted((shown(r) for r in trail(audited, tenant)[standing:]), key=lambda r: str(r["action"])) == [
        {**who, "action": "api_token.purge", "token_id": token.hash[:16]},
        {**who, "action": "auth_code.purge", "service": "code"},
        {**who, "action": "credentials.purge", "service": "mail", "credential_type": "api_key"},
        {**who, "action": "refresh.purge", "service": "github"},
    ]


def test_an_import_records_how_much_each_tenant_got(audited: TokenRepository, reference: TokenRepository) -> None:
    first, second = sorted(new_tenant(reference) for _ in range(2))
    reference.store_oauth_token(first, "github", oauth())
    assert audited.import_records(reference.export_records()) == 6
    assert [(r.action, r.detail) for r in trail(audited, first)] == [("records.import", {"records": 4})]
    assert [(r.action, r.detail) for r in trail(audited, second)] == [("records.import", {"records": 2})]


def test_a_deleted_tenants_chain_stays_ends_with_that_and_goes_on_when_it_is_imported_again(
    audited: TokenRepository,
) -> None:
    issued = audited.add_api_token()
    tenant = issued.metadata.tenant_hash
    records = list(audited.export_records())
    assert audited.delete_api_token(issued.hash)
    assert actions(audited, tenant) == ["tenant.create", "api_token.add", "api_token.delete", "tenant.delete"]
    audited.import_records(records)
    assert actions(audited, tenant)[-1] == "records.import"


def test_an_export_holds_no_audit_records(audited: TokenRepository, reference: TokenRepository) -> None:
    tenant = new_tenant(audited)
    reference.import_records(audited.export_records())
    assert reference.get_tenant(tenant) is not None
    assert reference.audit_log() == []


def test_the_trail_survives_closing_and_is_kept_by_whoever_opens_the_store(
    contract_store: ContractStore, clock: ManualClock
) -> None:
    with contract_store.open(clock, audit=True) as first:
        tenant = new_tenant(first)
    with contract_store.open(clock) as second:
        second.store_oauth_token(tenant, "github", oauth())
        assert actions(second, tenant) == ["tenant.create", "api_token.add", "oauth.store"]
        assert actions(second, "") == ["audit.enable"]


def test_a_handle_that_was_open_before_records_too(
    repository: TokenRepository, contract_store: ContractStore, clock: ManualClock
) -> None:
    tenant = new_tenant(repository)
    try:
        contract_store.open(clock, audit=True).close()
    except StoreLocked:
        return
    claim = repository.claim_refresh(tenant, "github", ttl=HOUR)
    assert claim is not None
    repository.delete_tenant(tenant)
    assert actions(repository, tenant) == ["refresh.claim", "tenant.delete"]


def test_the_log_is_listed_page_by_page(audited: TokenRepository, clock: ManualClock) -> None:
    tenants = []
    for _ in range(3):
        tenants.append(new_tenant(audited))
        clock.advance(HOUR)
    for tenant in tenants:
        audited.store_oauth_token(tenant, "github", oauth())
    whole = audited.audit_log()
    assert len(whole) == 10
    assert [(r.recorded_at, r.tenant_hash, r.sequence) for r in whole] == sorted(
        (r.recorded_at, r.tenant_hash, r.sequence) for r in whole
    )
    for tenant_hash in (None, *tenants, ""):
        paged, after = [], None
        while page := audited.audit_log(tenant_hash=tenant_hash, after=after, limit=2):
            assert len(page) <= 2
            paged += page
            after = page[-1].cursor
        assert paged == [r for r in whole if tenant_hash in (None, r.tenant_hash)]
    assert audited.audit_log(tenant_hash=UNKNOWN) == audited.audit_log(tenant_hash="nonsense") == []
    wrong: dict[str, Any] = {"after": "x", "limit": 0, "tenant_hash": 5}
    for field, value in wrong.items():
        with pytest.raises(InvalidInput, match=field):
            audited.audit_log(**{field: value})


def test_a_sink_that_fails_keeps_the_change_from_happening(audited: TokenRepository, clock: ManualClock) -> None:
    storage = innermost(audited)
    issued = audited.add_api_token()
    tenant = issued.metadata.tenant_hash
    code = audited.create_auth_code(tenant, "github", ttl=HOUR)
    audited.store_oauth_token(tenant, "github", oauth())
    audited.store_credentials(tenant, "mail", api_key(expires_at=clock.now + HOUR))
    before, log = exported(audited), audited.audit_log()

    def refuse(records: object) -> None:
        raise OSError(CANARY)

    storage.audit_sink = refuse
    for change in (
        audited.add_api_token,
        lambda: audited.add_api_token(tenant_hash=tenant),
        lambda: audited.rotate_api_token(issued.hash),
        lambda: audited.delete_api_token(issued.hash),
        lambda: audited.delete_tenant(tenant),
        lambda: audited.store_oauth_token(tenant, "github", oauth("new")),
        lambda: audited.delete_oauth_token(tenant, "github"),
        lambda: audited.claim_refresh(tenant, "github", ttl=HOUR),
        lambda: audited.store_credentials(tenant, "new", api_key()),
        lambda: audited.create_auth_code(tenant, "github", ttl=HOUR),
        lambda: audited.redeem_auth_code(code),
        lambda: audited.import_records(crafted_tenant(1)),
    ):
        with pytest.raises(Unavailable, match=r"sink failed \(OSError\)") as caught:
            change()
        assert CANARY not in str(caught.value)
        assert caught.value.__cause__ is None
    clock.advance(HOUR)
    with pytest.raises(Unavailable, match="sink"):
        audited.purge_expired()

    assert exported(audited) == before
    assert audited.audit_log() == log
    seen: list[AuditRecord] = []
    storage.audit_sink = seen.extend
    audited.redeem_auth_code(code)
    assert seen == audited.audit_log()[len(log) :]


def innermost(repository: TokenRepository) -> RecordRepository:
    found: Any = repository
    while hasattr(found, "inner"):
        found = found.inner
    assert isinstance(found, RecordRepository)
    return found


def test_writers_at_once_keep_the_chain_whole(audited: TokenRepository) -> None:
    tenant = new_tenant(audited)
    codes = [audited.create_auth_code(tenant, "github", ttl=HOUR) for _ in range(8)]
    before = len(trail(audited, tenant))

    def store(number: int) -> Callable[[], object]:
        return lambda: [audited.store_oauth_token(tenant, f"s{number}", oauth()) for _ in range(4)]

    at_once([*(store(number) for number in range(8)), *(partial(audited.redeem_auth_code, code) for code in codes)])

    assert len(trail(audited, tenant)) == before + 40
    assert audited.check().ok


def test_writers_that_begin_a_chain_at_once_keep_it_whole(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    codes = [repository.create_auth_code(tenant, "github", ttl=HOUR) for _ in range(8)]
    storage = innermost(repository)
    storage.write_mark(AUDIT_MARK, encode_settings(AuditSettings()))
    at_once([partial(repository.redeem_auth_code, code) for code in codes])
    assert actions(repository, tenant) == ["auth_code.redeem"] * 8
    assert repository.check().ok


def test_writers_in_several_processes_keep_every_chain_whole(
    contract_store: ContractStore, clock: ManualClock, tmp_path: Any
) -> None:
    if not contract_store.many_processes:
        return
    with contract_store.open(clock, audit=True) as repository:
        tenant = new_tenant(repository)
        codes = [repository.create_auth_code(tenant, "code", ttl=HOUR) for _ in range(4)]
        plans = [Plan(number, 4, 2, tenant, codes, str(tmp_path), clock.now.isoformat()) for number in range(3)]
        ledgers = _run_all(contract_store, plans)
        kinds = actions(repository, tenant)
        assert kinds.count("oauth.store") == 3 * 4 * 2
        assert kinds.count("auth_code.redeem") == 4
        assert kinds.count("refresh.commit") == sum(ledger["claims"] for ledger in ledgers)
        shared = [r for r in trail(repository, tenant) if r.service == SHARED]
        assert [r.detail["version"] for r in shared] == list(range(1, 25))
        assert repository.check().ok


def test_records_are_cut_off_from_the_oldest_on_and_the_rest_is_whole(
    storage: RecordRepository, clock: ManualClock
) -> None:
    storage.write_mark(AUDIT_MARK, encode_settings(KEPT), audit=storage.audit_entry("audit.enable"))
    old, gone, late = new_tenant(storage), new_tenant(storage), new_tenant(storage)
    storage.delete_tenant(gone)
    clock.advance(DAY)
    storage.store_oauth_token(late, "github", oauth())
    clock.advance(HOUR)

    assert storage.purge_expired()["audit_records"] == 8

    assert [r.action for r in storage.audit_log()] == ["oauth.store", "audit.purge"]
    purged = storage.audit_log(tenant_hash="")[0]
    assert purged.detail == {"before": micros(clock.now - DAY), "records": 8}
    assert {chain.tenant_hash: (chain.first, chain.last) for chain in storage.scan_audit_chains(None, 10)} == {
        "": (2, 2),
        old: (3, 2),
        late: (3, 3),
    }
    assert storage.check().ok
    storage.store_oauth_token(old, "github", oauth())
    assert [r.sequence for r in storage.audit_log(tenant_hash=old)] == [3]
    assert storage.check().ok
    assert storage.purge_expired()["audit_records"] == 0


def test_a_newer_record_keeps_those_behind_it_whatever_the_clock_said(
    storage: RecordRepository, clock: ManualClock
) -> None:
    storage.write_mark(AUDIT_MARK, encode_settings(KEPT))
    tenant, other = new_tenant(storage), new_tenant(storage)
    clock.advance(HOUR)
    storage.store_oauth_token(tenant, "a", oauth())
    clock.advance(-HOUR)
    storage.store_oauth_token(tenant, "b", oauth())
    storage.store_oauth_token(other, "b", oauth())
    before = micros(clock.now + timedelta(minutes=1))

    cut = [storage.cut_audit_chains(before, 2) for _ in range(4)]

    assert sum(cut) == 5
    assert max(cut) == 2
    assert [r.sequence for r in storage.audit_log(tenant_hash=tenant)] == [3, 4]
    assert storage.audit_log(tenant_hash=other) == []
    assert storage.check().ok


def test_nothing_is_cut_off_unrecorded(storage: RecordRepository, clock: ManualClock) -> None:
    storage.write_mark(AUDIT_MARK, encode_settings(KEPT), audit=storage.audit_entry("audit.enable"))
    tenant = new_tenant(storage)
    storage.write_mark(AUDIT_MARK, None, audit=storage.audit_entry("audit.disable"))
    later = micros(clock.now + DAY)

    assert storage.cut_audit_chains(later, 10, audit=storage.audit_entry("audit.purge")) == 0

    assert actions(storage, tenant) == ["tenant.create", "api_token.add"]
    assert actions(storage, "") == ["audit.enable", "audit.disable"]
    storage.write_mark(AUDIT_MARK, encode_settings(KEPT), audit=storage.audit_entry("audit.enable"))
    assert storage.cut_audit_chains(later, 10, audit=storage.audit_entry("audit.purge")) == 5
    assert actions(storage, "") == ["audit.purge"]


def test_what_belongs_to_the_store_is_recorded_in_its_own_chain(storage: RecordRepository) -> None:
    storage.write_mark(AUDIT_MARK, encode_settings(AuditSettings()), audit=storage.audit_entry("audit.enable"))
    tenant = crafted_hash(1)
    record = SecretRecord(Place(tenant, Kind.OAUTH, "s"), b"1", None, 0, 0, 1)
    storage.insert_records([TenantRecord(tenant, 0), record, CounterRecord(record.place)], PLAIN_MARK)
    storage.replace_payloads([(record, b"2")], audit=storage.audit_entry("key.reseal"))
    storage.replace_payloads([(record, b"3")], audit=storage.audit_entry("key.reseal"))
    storage.write_mark("note", b"1", audit=storage.audit_entry("key.rotate"))
    storage.write_mark("note", b"2")
    storage.write_mark(AUDIT_MARK, None, audit=storage.audit_entry("audit.disable"))
    storage.write_mark("note", b"3", audit=storage.audit_entry("key.rotate"))
    assert [(r.action, dict(r.detail)) for r in trail(storage, "")] == [
        ("audit.enable", {}),
        ("key.reseal", {"records": 1}),
        ("key.rotate", {}),
        ("audit.disable", {}),
    ]
    last = trail(storage, "")[-1]
    assert storage.scan_audit_chains(None, 10) == [AuditChain("", 1, 4, last.hash, last.recorded_at)]


def test_a_records_hash_is_over_all_that_it_says(audited: TokenRepository) -> None:
    tenant = new_tenant(audited)
    audited.store_credentials(tenant, "mail", api_key())
    record = trail(audited, tenant)[-1]
    assert record.computed_hash() == record.hash
    for name in record.__struct_fields__:
        if name != "hash":
            value = getattr(record, name)
            other: Any = {"x": 1} if name == "detail" else value + 1 if isinstance(value, int) else value + "x"
            assert replace(record, **{name: other}).computed_hash() != record.hash, name
