"""Raw records, tenant by tenant."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Table, select

from fusion_store import CorruptRecord
from fusion_store.backend import CorruptPlace, Kind, Record, RecordPage
from fusion_store_sql import _rows
from fusion_store_sql import _schema as schema
from fusion_store_sql._database import rows

_READERS: Final[tuple[tuple[Table, str, Callable[[_rows.Row], Record]], ...]] = (
    (schema.api_tokens, "api_token", _rows.by_name(_rows.api_token)),
    (schema.oauth_tokens, Kind.OAUTH, _rows.by_name(_rows.oauth_token)),
    (schema.service_credentials, Kind.CREDENTIAL, _rows.by_name(_rows.credential)),
    (schema.counters, "counter", _rows.counter),
    (schema.auth_codes, Kind.AUTH_CODE, _rows.auth_code),
)
"""What a tenant holds, in the order in which it is exported."""


def scan_page(connection: Connection, after: str | None, limit: int) -> RecordPage:
    """The raw records of the next ``limit`` tenants; see ``Storage.scan_records``."""
    with any_text(connection):
        hash = schema.tenants.c.tenant_hash
        query = select(schema.tenants).order_by(hash).limit(limit)
        tenant_rows = rows(connection, query if after is None else query.where(hash > after))
        last = tenant_rows[-1]["tenant_hash"] if len(tenant_rows) == limit else None
        page = _Page()
        for row in tenant_rows:
            page.add_tenant(row)
        for table, kind, read in _READERS:
            for row in rows(connection, _between(table, after, last)):
                page.add(row, kind, read)
    return RecordPage(tuple(page.records()), tuple(page.corrupt), last)


class _Page:
    def __init__(self) -> None:
        self._of_tenant: defaultdict[str, list[Record]] = defaultdict(list)
        self._tenants: set[str] = set()
        self.corrupt: list[CorruptPlace] = []

    def add_tenant(self, row: _rows.Row) -> None:
        self._tenants.add(row["tenant_hash"])
        self._read(row, _rows.tenant)

    def add(self, row: _rows.Row, kind: str, read: Callable[[_rows.Row], Record]) -> None:
        if row["tenant_hash"] in self._tenants:
            self._read(row, read)
        else:
            self._refuse(CorruptRecord(kind, tenant_hash=str(row["tenant_hash"]), reason="belongs to no tenant"))

    def _read(self, row: _rows.Row, read: Callable[[_rows.Row], Record]) -> None:
        try:
            record = read(row)
        except CorruptRecord as error:
            self._refuse(error)
        else:
            self._of_tenant[row["tenant_hash"]].append(record)

    def _refuse(self, error: CorruptRecord) -> None:
        self.corrupt.append(CorruptPlace(error.kind, error.tenant_hash, error.service, error.reason))

    def records(self) -> Iterator[Record]:
        for tenant_hash in sorted(self._of_tenant):
            yield from self._of_tenant[tenant_hash]


def _between(table: Table, after: str | None, last: str | None) -> Any:
    query = select(table)
    if after is not None:
        query = query.where(table.c.tenant_hash > after)
    if last is not None:
        query = query.where(table.c.tenant_hash <= last)
    keys = [table.c.tenant_hash, *(c for c in table.primary_key if c.name != "tenant_hash")]
    if table is schema.api_tokens:
        keys.insert(1, table.c.created_at)
    return query.order_by(*keys)


@contextmanager
def any_text(connection: Connection) -> Iterator[None]:
    """On SQLite, lets text that isn't UTF-8 through, for the record's checksum to refuse."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        yield
        return
    driver.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        yield
    finally:
        driver.text_factory = str
