"""Damage to one token, which was used before, is no reason to lose when the others were."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fusion_store import CorruptStore, IssuedToken
from tests.leveldb.conftest import Opener, raw

pytest.importorskip("plyvel")

from fusion_store_leveldb import _keys as keys

if TYPE_CHECKING:
    from fusion_store_leveldb import LevelDBTokenRepository

COPY = keys.TOKEN_KEY_BYTES


def damages(entry: bytes, other: bytes) -> dict[str, bytes]:
    """What may stand in place of an index entry."""
    return {
        "nothing is left": b"",
        "nonsense": b"nonsense",
        "names another token": other,
        "names a tenant that isn't there": entry[:1] + b"\xaa" * 32 + entry[33:],
        "its copy ends early": entry[:-1],
        "its copy is unreadable": entry[:COPY] + b"\x01\xc1",
        "its copy is of another form": entry[:COPY] + b"\x02" + entry[COPY + 1 :],
    }


def used_tokens(repository: LevelDBTokenRepository) -> list[IssuedToken]:
    """Three of one tenant and one of another, validated in this order."""
    tenant = repository.add_api_token().hash
    issued = [repository.add_api_token(tenant_hash=of) for of in (tenant, tenant, tenant, None)]
    assert all(repository.validate_api_token(one.token) for one in issued)
    assert repository.last_used_backlog() == 4
    return issued


@pytest.mark.parametrize("damage", damages(b"", b""))
def test_one_damaged_index_entry_holds_up_no_other_tokens_last_use(open_store: Opener, damage: str) -> None:
    repository = open_store()
    first, damaged, *others = used_tokens(repository)
    entry = keys.token_by_hash(damaged.hash)
    database = raw(repository)
    database.put(entry, damages(database.get(entry), database.get(keys.token_by_hash(first.hash)))[damage])

    repository.flush()

    assert repository.last_used_backlog() == 0
    for one in (first, *others):
        record = repository.read_api_token(one.hash)
        assert record is not None
        assert record.last_used is not None


def test_a_damaged_block_holds_up_no_other_tokens_last_use(open_store: Opener, folder: Path) -> None:
    repository = open_store()
    issued = [repository.add_api_token(os.urandom(100).hex()) for _ in range(100)]
    assert all(repository.validate_api_token(one.token) for one in issued)
    raw(repository).compact_range()
    table = max(folder.glob("*.ldb"), key=lambda path: path.stat().st_size)
    damaged = bytearray(table.read_bytes())
    for eighth in range(1, 8):
        damaged[len(damaged) * eighth // 8] ^= 1
    # In place: the store has it open.
    with table.open("r+b") as opened:
        opened.write(damaged)

    repository.flush()

    assert repository.last_used_backlog() == 0
    unread = 0
    for one in issued:
        try:
            record = repository.read_api_token(one.hash)
        except CorruptStore:
            unread += 1
        else:
            assert record is not None
            assert record.last_used is not None
    assert 0 < unread < len(issued)
