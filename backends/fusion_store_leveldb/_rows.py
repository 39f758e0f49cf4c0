"""Records in the database: finding them, and keeping their index entries with them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import cast

from msgspec import Struct

from fusion_store import SYSTEM_TENANT, CorruptRecord, CorruptStore, backend
from fusion_store.backend import (
    ENCRYPTION_MARK,
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    Kind,
    Place,
    Record,
    SecretRecord,
    SecretState,
    TenantCounts,
    TenantRecord,
)
from fusion_store_leveldb import _codec as codec
from fusion_store_leveldb import _keys as keys
from fusion_store_leveldb._session import Changes, View


def has_tenant(view: View, tenant_hash: str) -> bool:
    """Whether the tenant stands, readable or not."""
    return view.get(keys.tenant(tenant_hash)) is not None


class Found(Struct, frozen=True):
    """A record that was found, not read yet."""

    key: bytes
    location: keys.RecordKey
    value: bytes

    def read(self) -> Record:
        """The record; ``CorruptRecord`` when it doesn't read."""
        return codec.decode_at(self.location, self.value)


def find_token(view: View, hash: str) -> Found | None:
    """The API token with that hash, from the copy in its index entry where that has one; None when there is none."""
    entry = view.get(keys.token_by_hash(hash))
    return None if entry is None else _named_by(view, entry, hash)


def find_code(view: View, hash: str) -> Found | None:
    """The auth code with that hash; None when there is none."""
    key = view.get(keys.code_by_hash(hash))
    value = None if key is None else view.get(key)
    return None if key is None or value is None else _found(key, value, hash)


def read_token(view: View, hash: str) -> APITokenRecord | None:
    """The API token with that hash; None when there is none."""
    entry = view.get(keys.token_by_hash(hash))
    if entry is None:
        return None
    token = codec.try_token(entry, entry, hash, keys.TOKEN_KEY_BYTES)
    if token is not None:
        return token
    found = _named_by(view, entry, hash)
    return None if found is None else cast(APITokenRecord, found.read())


def read_code(view: View, hash: str) -> AuthCodeRecord | None:
    """The auth code with that hash; None when there is none."""
    found = find_code(view, hash)
    return None if found is None else cast(AuthCodeRecord, found.read())


def read_secret(view: View, place: Place) -> SecretRecord | None:
    """The record at a place; None when there is none."""
    value = view.get(keys.secret(place))
    if value is None:
        return None
    return cast(
        SecretRecord, codec.decode_at(keys.RecordKey(keys.SECRET_SECTION, place.tenant_hash, "", 0, place), value)
    )


def read_counter(view: View, place: Place) -> CounterRecord | None:
    """The counters of a place; None when there are none."""
    value = view.get(keys.counter(place))
    if value is None:
        return None
    return cast(
        CounterRecord, codec.decode_at(keys.RecordKey(keys.COUNTER_SECTION, place.tenant_hash, "", 0, place), value)
    )


def read_state(view: View, place: Place) -> SecretState:
    """All that a change of a place looks at."""
    return SecretState(
        has_tenant(view, place.tenant_hash),
        read_secret(view, place),
        read_counter(view, place) or CounterRecord(place),
    )


def read_standing(view: View, record: Record) -> Record | None:
    """The record that stands where this one belongs; None when there is none."""
    match record:
        case APITokenRecord():
            return read_token(view, record.hash)
        case AuthCodeRecord():
            return read_code(view, record.hash)
        case _:
            return _read(view, keys.of_record(record))


def scan_tokens(view: View, tenant_hash: str | None, after: tuple[int, str] | None) -> Iterator[APITokenRecord]:
    """The tokens of one tenant or of all behind ``after``, by (``created_at``, ``hash``)."""
    behind = keys.tokens_behind(tenant_hash, after)
    if tenant_hash is not None:
        for key, value in view.scan(behind):
            yield codec.decode_token(key, value)
    else:
        yield from follow_tokens(view, behind)


def follow_tokens(view: View, index: keys.Range) -> Iterator[APITokenRecord]:
    """The tokens that a range of an index names.

    ``CorruptRecord`` where an entry lies elsewhere than its token's own would: the page behind that token might begin
    with the same entry.
    """
    for at, entry in view.scan(index):
        key, copy = keys.split_entry(entry)
        value = copy or view.get(key)
        if value is not None:
            if not keys.is_entry_of(at, key):
                raise _another_record()
            yield codec.decode_token(key, value)


def scan_secrets(view: View, tenant_hash: str, kind: Kind) -> Iterator[SecretRecord]:
    """A tenant's records of that kind."""
    for key, value in view.scan(keys.secrets_range(tenant_hash, kind)):
        yield cast(SecretRecord, codec.decode(key, value))


def scan_tenants(view: View, wanted: keys.Range, now: int) -> Iterator[TenantCounts]:
    """The tenants of a range with how much they hold at ``now``, by hash."""
    counted: _Counted | None = None
    for key, value in view.scan(wanted):
        section = keys.section_of(key)
        if section == keys.TENANT_SECTION:
            if counted is not None:
                yield counted.answer()
            counted = _Counted(cast(TenantRecord, codec.decode(key, value)))
        # What belongs to no tenant is reported by ``check``.
        elif counted is not None and counted.tenant.tenant_hash == keys.tenant_of(key):
            counted.add(key, value, section, now)
    if counted is not None:
        yield counted.answer()


def tenant_hashes(view: View, wanted: keys.Range) -> Iterator[str]:
    """The tenants of a range, by hash, stepping over what they hold."""
    start = wanted.start
    while (entry := next(view.scan(keys.Range(start, wanted.stop)), None)) is not None:
        key = entry[0]
        if keys.section_of(key) == keys.TENANT_SECTION:
            yield keys.tenant_of(key)
        start = keys.next_tenant(key)


def read_schema(view: View) -> str:
    """The schema version; ``CorruptStore`` when there is none."""
    value = view.get(keys.SCHEMA)
    if value is None:
        raise CorruptStore("the store's schema version is lost")
    return codec.decode_bytes(value, "schema").decode(errors="replace")


def read_mark(view: View, name: str) -> bytes | None:
    """The value of a mark; None when there is none."""
    value = view.get_mark(keys.mark(name))
    return None if value is None else codec.decode_bytes(value, "mark")


def settle_mode(changes: Changes, view: View, mode: bytes) -> None:
    """Make sure that records of that mode may be written; see ``fusion_store.backend.settle_mode``."""
    mark = backend.settle_mode(read_mark(view, ENCRYPTION_MARK), mode, lambda: _is_empty(view))
    if mark is not None:
        changes.put(keys.mark(ENCRYPTION_MARK), codec.encode_bytes(mark))


def _is_empty(view: View) -> bool:
    """Whether nothing belongs to any tenant, and no tenant stands but the system's."""
    return all(key == keys.tenant(SYSTEM_TENANT) for key, _ in islice(view.scan(keys.TENANTS), 2))


class _Counted:
    def __init__(self, tenant: TenantRecord) -> None:
        self.tenant = tenant
        self._tokens = self._oauth = self._credentials = 0

    def add(self, key: bytes, value: bytes, section: int, now: int) -> None:
        if section == keys.TOKEN_SECTION:
            self._tokens += 1
        elif section == keys.SECRET_SECTION:
            place = present_place(key, value, now)
            self._oauth += place is not None and place.kind is Kind.OAUTH
            self._credentials += place is not None and place.kind is Kind.CREDENTIAL

    def answer(self) -> TenantCounts:
        return TenantCounts(
            self.tenant, api_tokens=self._tokens, oauth_tokens=self._oauth, credentials=self._credentials
        )


def present_place(key: bytes, value: bytes, now: int) -> Place | None:
    """The place of a secret, None when that is absent at ``now``; one that can't be read is there."""
    try:
        location = keys.read(key)
    except ValueError:
        return None
    place = location.place
    if place is not None and place.kind is Kind.CREDENTIAL:
        try:
            record = cast(SecretRecord, codec.decode_at(location, value))
        except CorruptRecord:
            return place
        return None if record.is_absent(now) else place
    return place


def put(changes: Changes, record: Record) -> None:
    """Write a record with its index entries."""
    key, value = keys.of_record(record), codec.encode(record)
    changes.put(key, value)
    if isinstance(record, APITokenRecord):
        by_hash, *others = keys.of_token_indexes(record)
        changes.put(by_hash, key + value)
        for entry in others:
            changes.put(entry, key)
    elif isinstance(record, AuthCodeRecord):
        changes.put(keys.code_by_hash(record.hash), key)


def put_over(changes: Changes, view: View, record: Record) -> bool:
    """Write a record in place of one that may stand under another key; True when that is an API token's."""
    standing = None
    if isinstance(record, APITokenRecord):
        standing = find_token(view, record.hash)
    elif isinstance(record, AuthCodeRecord):
        standing = find_code(view, record.hash)
    if standing is not None:
        delete(changes, view, standing)
    put(changes, record)
    return standing is not None and isinstance(record, APITokenRecord)


def delete(changes: Changes, view: View, found: Found) -> None:
    """Delete a record with its index entries, also when it can't be read."""
    location = found.location
    changes.delete(found.key)
    if location.section == keys.CODE_SECTION:
        changes.delete(keys.code_by_hash(location.hash))
    elif location.section == keys.TOKEN_SECTION:
        changes.delete(keys.token_by_hash(location.hash))
        changes.delete(keys.token_by_age(location.created_at, location.hash))
        for entry in _prefix_entries(view, found):
            changes.delete(entry)


def delete_tenant(changes: Changes, view: View, tenant_hash: str) -> None:
    """Delete a tenant, all that belongs to it and all index entries of that."""
    for key, value in view.scan(keys.tenant_range(tenant_hash)):
        try:
            found = Found(key, keys.read(key), value)
        except ValueError:
            changes.delete(key)
        else:
            delete(changes, view, found)


def has_other_token(view: View, token: Found) -> bool:
    """Whether the tenant of an API token has another one."""
    tokens = view.scan(keys.section_range(token.location.tenant_hash, keys.TOKEN_SECTION))
    return any(key != token.key for key, _ in tokens)


def _prefix_entries(view: View, found: Found) -> list[bytes]:
    try:
        token = cast(APITokenRecord, found.read())
    except CorruptRecord:
        # The prefix is unreadable, so that its entry is found only by what it names.
        return [entry for entry, key in view.scan(keys.TOKENS_BY_PREFIX) if key == found.key]
    return [keys.token_by_prefix(token.prefix, token.hash)]


def _named_by(view: View, entry: bytes, hash: str) -> Found | None:
    key, copy = keys.split_entry(entry)
    value = copy or view.get(key)
    return None if value is None else _found(key, value, hash)


def _found(key: bytes, value: bytes, hash: str) -> Found:
    try:
        location = keys.read(key)
    except ValueError:
        location = None
    if location is None or location.hash != hash:
        raise _another_record()
    return Found(key, location, value)


def _another_record() -> CorruptRecord:
    return CorruptRecord("index", reason="an entry names another record")


def _read(view: View, key: bytes) -> Record | None:
    value = view.get(key)
    return None if value is None else codec.decode(key, value)
