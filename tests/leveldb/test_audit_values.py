"""Values of the audit trail that say what none of ours says."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import plyvel
import pytest

from fusion_store import CorruptRecord, OAuthTokenData, get_repository
from fusion_store_leveldb import _keys as keys


def test_a_chain_whose_text_does_not_read_is_reported(folder: Path) -> None:
    with get_repository(f"leveldb:///{folder}", audit=True):
        pass
    with closing(plyvel.DB(str(folder))) as database:
        value = database.get(keys.audit_chain(""))
        at = value.index(database.get(keys.audit_record("", 1))[-64:])
        database.put(keys.audit_chain(""), value[:at] + b"\xe4" + value[at + 1 :])

    with get_repository(f"leveldb:///{folder}") as vault:
        assert [place.reason for place in vault.check().corrupt] == ["record 1 lies outside the chain"]


@pytest.mark.parametrize("last", [-2, 2**63 - 1, 2**64 - 1])
def test_a_chain_that_ends_at_no_number_that_it_can_go_on_from_is_reported(folder: Path, last: int) -> None:
    with get_repository(f"leveldb:///{folder}", audit=True) as vault:
        tenant = vault.add_api_token().hash
    with closing(plyvel.DB(str(folder))) as database:
        value = database.get(keys.audit_chain(tenant))
        first, _, hash, recorded_at = msgspec.msgpack.decode(value[1:])
        database.put(keys.audit_chain(tenant), value[:1] + msgspec.msgpack.encode([first, last, hash, recorded_at]))

    with get_repository(f"leveldb:///{folder}") as vault:
        assert not vault.check().ok
        with pytest.raises(CorruptRecord):
            vault.add_api_token(tenant_hash=tenant)


@pytest.mark.parametrize(
    ("lost", "added", "reasons"),
    [
        (True, False, ["a record without its index entry"]),
        (False, True, ["an index entry without its record"]),
        (True, True, ["an index entry without its record", "a record without its index entry"]),
    ],
)
def test_an_order_of_times_that_is_not_that_of_the_records_is_reported(
    folder: Path, lost: bool, added: bool, reasons: list[str]
) -> None:
    with get_repository(f"leveldb:///{folder}", audit=True) as vault:
        tenant = vault.add_api_token().hash
        vault.store_oauth_token(tenant, "github", OAuthTokenData("a"))
        assert vault.check().ok
        record = vault.audit_log(tenant_hash=tenant)[1]
    with closing(plyvel.DB(str(folder))) as database:
        if lost:
            database.delete(keys.audit_time(record.recorded_at, tenant, 2))
        if added:
            database.put(keys.audit_time(record.recorded_at + 1, tenant, 2), b"")

    with get_repository(f"leveldb:///{folder}") as vault:
        found = vault.check().corrupt
    assert [(place.kind, place.tenant_hash, place.reason) for place in found] == [
        ("audit", tenant, reason) for reason in reasons
    ]


def test_an_index_entry_of_no_record_at_all_is_reported(folder: Path) -> None:
    with get_repository(f"leveldb:///{folder}", audit=True):
        pass
    with closing(plyvel.DB(str(folder))) as database:
        database.put(keys.audit_time(0, "", 7), b"")
    with get_repository(f"leveldb:///{folder}") as vault:
        assert [place.reason for place in vault.check().corrupt] == ["an index entry without its record"]
