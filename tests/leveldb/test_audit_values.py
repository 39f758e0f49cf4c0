"""Values of the audit trail that say what none of ours says."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import plyvel

from fusion_store import get_repository
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
