"""What the store says of itself: marks, the change signal and the encryption mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from sqlalchemy import Connection, bindparam, delete, exists, insert, or_, select, update

from fusion_store import SYSTEM_TENANT
from fusion_store.backend import AUDIT_MARK, ENCRYPTION_MARK, settle_mode
from fusion_store_sql._prepared import Prepared
from fusion_store_sql._schema import auth_codes, counters, marks, oauth_tokens, service_credentials, signals, tenants

CHANGES: Final = "changes"
"""The name of the change signal."""


MARK: Final = Prepared(select(marks.c.value).where(marks.c.name == bindparam("name", type_=marks.c.name.type)), "name")
"""The value of a mark."""
SIGNAL: Final = Prepared(
    select(signals.c.value).where(signals.c.name == bindparam("name", type_=signals.c.name.type)), "name"
)
"""The value of a signal."""
_FOR_WRITERS: Final = Prepared(
    select(marks.c.name, marks.c.value).where(or_(marks.c.name == ENCRYPTION_MARK, marks.c.name == AUDIT_MARK))
)
_RAISED_SIGNAL: Final = Prepared(
    update(signals)
    .where(signals.c.name == bindparam("signal", type_=signals.c.name.type))
    .values(value=signals.c.value + 1),
    "signal",
)


def read_mark(connection: Connection, name: str) -> bytes | None:
    """The mark's value; None where none stands."""
    return mark_in(MARK.rows(connection, name))


def mark_in(found: Sequence[Any]) -> bytes | None:
    """The value that ``MARK`` found. What isn't bytes was written by somebody else, and reads as empty."""
    if not found:
        return None
    return found[0][0] if isinstance(found[0][0], bytes) else b""


def write_mark(connection: Connection, name: str, value: bytes | None) -> None:
    """Set a mark; None deletes it."""
    _queue(connection)
    connection.execute(delete(marks).where(marks.c.name == name))
    if value is not None:
        connection.execute(insert(marks), {"name": name, "value": value})


def raise_signal(connection: Connection) -> None:
    """Tell caches in other processes that a token or tenant is gone."""
    _RAISED_SIGNAL.run(connection, CHANGES)


def settle(connection: Connection, mode: bytes) -> bool:
    """Make sure that records of that mode may be written, see ``settle_mode``; answers whether changes are audited."""
    standing: dict[str, bytes] = dict(cast("list[tuple[str, bytes]]", _FOR_WRITERS.rows(connection)))
    if standing.get(ENCRYPTION_MARK) != mode:
        _queue(connection)
        mark = settle_mode(read_mark(connection, ENCRYPTION_MARK), mode, lambda: _is_empty(connection))
        if mark is not None:
            write_mark(connection, ENCRYPTION_MARK, mark)
    return AUDIT_MARK in standing


def _queue(connection: Connection) -> None:
    """Wait for other transactions that write marks: what they wrote can be read from here on."""
    connection.execute(select(signals).where(signals.c.name == CHANGES).with_for_update())


def _is_empty(connection: Connection) -> bool:
    held = [exists().where(table.c.tenant_hash.is_not(None)) for table in _HELD_TABLES]
    return not connection.scalar(select(or_(exists().where(tenants.c.tenant_hash != SYSTEM_TENANT), *held)))


_HELD_TABLES: Final = (oauth_tokens, service_credentials, counters, auth_codes)
