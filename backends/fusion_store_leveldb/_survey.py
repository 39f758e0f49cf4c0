"""Going through a whole store: exporting, counting, looking for damage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from fusion_store import SYSTEM_TENANT, CorruptRecord, CorruptStore, CredentialType, StoreStats
from fusion_store.backend import (
    APITokenRecord,
    AuthCodeRecord,
    CorruptPlace,
    CounterRecord,
    Kind,
    Record,
    RecordPage,
    SecretRecord,
    TenantRecord,
)
from fusion_store_leveldb import _audit as trail
from fusion_store_leveldb import _codec as codec
from fusion_store_leveldb import _keys as keys
from fusion_store_leveldb import _rows as rows
from fusion_store_leveldb._session import View

_ORDER: Final = (TenantRecord, APITokenRecord, SecretRecord, CounterRecord, AuthCodeRecord)
_UNREADABLE_BLOCK: Final = "LevelDB can't read one or more records near here"


def scan_page(view: View, after: str | None, limit: int) -> RecordPage:
    """As ``Storage.scan_records``; what LevelDB can't read is passed over, and reported."""
    records: list[Record] = []
    corrupt: list[CorruptPlace] = []
    tenant_hash, stands, tenants = "", False, 0
    tenant_records: list[Record] = []
    for key, value in view.survey(keys.tenants_behind(after)):
        if value is None:
            corrupt.append(CorruptPlace("store", keys.tenant_of(key), "", _UNREADABLE_BLOCK))
            continue
        if tenants == 0 or keys.tenant_of(key) != tenant_hash:
            records += _in_order(tenant_records)
            if tenants == limit:
                return RecordPage(tuple(records), tuple(corrupt), tenant_hash)
            tenant_hash, stands, tenants, tenant_records = keys.tenant_of(key), False, tenants + 1, []
        stands |= keys.section_of(key) == keys.TENANT_SECTION
        try:
            record = codec.decode(key, value)
            if not stands:
                raise codec.corrupt(keys.read(key), "belongs to no tenant")
        except CorruptRecord as error:
            corrupt.append(CorruptPlace(error.kind, error.tenant_hash, error.service, error.reason))
        else:
            tenant_records.append(record)
    records += _in_order(tenant_records)
    return RecordPage(tuple(records), tuple(corrupt), None)


def count_records(view: View, now: int, *, bytes_on_disk: int, schema: str) -> StoreStats:
    """As ``Storage.count_records``."""
    sections: Counter[int] = Counter()
    oauth_tokens: Counter[str] = Counter()
    credentials: Counter[CredentialType] = Counter()
    for key, value in view.scan(keys.TENANTS):
        section = keys.section_of(key)
        sections[section] += 1
        place = rows.present_place(key, value, now) if section == keys.SECRET_SECTION else None
        if place is not None and place.kind is Kind.OAUTH:
            oauth_tokens[place.service] += 1
        elif place is not None and place.credential_type in set(CredentialType):
            credentials[CredentialType(place.credential_type)] += 1
    return StoreStats(
        tenants=sections[keys.TENANT_SECTION] - 1,
        api_tokens=sections[keys.TOKEN_SECTION],
        oauth_tokens=dict(oauth_tokens),
        credentials=dict(credentials),
        bytes_on_disk=bytes_on_disk,
        schema_version=schema,
    )


def find_damage(view: View) -> Iterator[CorruptPlace]:
    """Index entries without their record, and records without an index entry; the system tenant, if it is lost."""
    for index, kind in (
        (keys.TOKENS_BY_HASH, "api_token"),
        (keys.TOKENS_BY_AGE, "api_token"),
        (keys.TOKENS_BY_PREFIX, "api_token"),
        (keys.CODES_BY_HASH, "auth_code"),
    ):
        for entry, named in view.survey(index):
            if named is None:
                yield CorruptPlace("index", "", "", _UNREADABLE_BLOCK)
                continue
            key, copy = (named, b"") if index is keys.CODES_BY_HASH else keys.split_entry(named)
            if not _fits(view, entry, key, copy):
                yield CorruptPlace(kind, keys.tenant_of(key), "", "an index entry without its record")
    begins_with: bytes | None = None
    for key, value in view.survey(keys.TENANTS):
        begins_with = begins_with or key
        if value is not None:
            yield from _missing_entries(view, key, value)
    if begins_with != keys.tenant(SYSTEM_TENANT):
        yield CorruptPlace("tenant", SYSTEM_TENANT, "", "the system tenant is lost")
    yield from _audit_damage(view)


def _audit_damage(view: View) -> Iterator[CorruptPlace]:
    """Where the audit records and the order of their times don't agree."""
    for entry, value in view.survey(keys.AUDIT_TIMES):
        if value is None:
            yield CorruptPlace("index", "", "", _UNREADABLE_BLOCK)
            continue
        _, name, sequence = keys.read_audit_time(entry)
        key = keys.audit_record(name, sequence)
        try:
            record = view.get(key)
        except CorruptStore:
            # Reported where the record lies.
            continue
        if record is None or trail.time_entry(key, record) not in (None, entry):
            yield CorruptPlace("audit", name, "", "an index entry without its record")
    for key, value in view.survey(keys.AUDIT_RECORDS):
        indexed = None if value is None else trail.time_entry(key, value)
        try:
            is_missing = indexed is not None and view.get(indexed) is None
        except CorruptStore:
            # Reported where the entry lies.
            continue
        if is_missing:
            yield CorruptPlace("audit", keys.read_audit_record(key)[0], "", "a record without its index entry")


def _fits(view: View, entry: bytes, key: bytes, copy: bytes) -> bool:
    """Whether an index entry names a record that stands, and is one of that record's, with no other copy of it."""
    try:
        value = view.get(key)
        return value is not None and entry in _entries(key, value) and copy in (b"", value)
    except (CorruptRecord, CorruptStore):
        # Reported where the record lies.
        return True


def _missing_entries(view: View, key: bytes, value: bytes) -> Iterator[CorruptPlace]:
    try:
        is_missing = any(view.get(entry) not in (key, key + value) for entry in _entries(key, value))
    except (CorruptRecord, CorruptStore):
        # Reported where the record, or the entry, lies.
        return
    if is_missing:
        location = keys.read(key)
        yield CorruptPlace(
            location.record_kind, location.tenant_hash, location.service, "a record without its index entry"
        )


def _entries(key: bytes, value: bytes) -> tuple[bytes, ...]:
    if keys.section_of(key) not in (keys.TOKEN_SECTION, keys.CODE_SECTION):
        return ()
    record = codec.decode(key, value)
    if isinstance(record, APITokenRecord):
        return keys.of_token_indexes(record)
    assert isinstance(record, AuthCodeRecord)
    return (keys.code_by_hash(record.hash),)


def _in_order(records: list[Record]) -> list[Record]:
    """One tenant's records by kind, and by what they are called: the same on every backend."""
    return sorted(records, key=_order)


def _order(record: Record) -> tuple[int, Any]:
    match record:
        case TenantRecord():
            within: Any = ()
        case APITokenRecord():
            within = (record.created_at, record.hash)
        case AuthCodeRecord():
            within = record.hash
        case _:
            within = record.place
    return _ORDER.index(type(record)), within
