"""Writing when API tokens were last used: many at a time, under the locks of their tenants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from fusion_store import CorruptRecord, CorruptStore, StorageIO
from fusion_store_leveldb import _rows as rows
from fusion_store_leveldb._handle import Handle, Stripes
from fusion_store_leveldb._session import Changes, View

_DAMAGE: Final = (CorruptRecord, CorruptStore)
"""What the last use of one token meets; the others' times must not wait until that is repaired."""


def write_last_used(handle: Handle, stripes: Stripes, last_used: Mapping[str, int]) -> None:
    """As ``Storage.touch_api_tokens``: unsynced writes, closed by one that is synced."""
    by_stripe: dict[int, list[tuple[str, str]]] = defaultdict(list)
    with handle.use() as session:
        for hash in last_used:
            try:
                found = rows.find_token(session, hash)
            except _DAMAGE:
                continue
            if found is not None:
                tenant_hash = found.location.tenant_hash
                by_stripe[stripes.number(tenant_hash)].append((tenant_hash, hash))
    sessions = {session}
    for tokens in by_stripe.values():
        with stripes.hold(*(tenant_hash for tenant_hash, _ in tokens)), handle.use() as session:
            sessions.add(session)
            changes = Changes()
            for _, hash in tokens:
                _touch(changes, session, hash, last_used[hash])
            session.write(changes, sync=False)
    with handle.use() as session:
        if sessions != {session}:
            raise StorageIO("the store was reopened while last-used times were written")
        session.write(Changes())


def _touch(changes: Changes, view: View, hash: str, used_at: int) -> None:
    try:
        token = rows.read_token(view, hash)
    except _DAMAGE:
        return
    if token is not None and (token.last_used is None or token.last_used < used_at):
        rows.put(changes, replace(token, last_used=used_at))
