"""The databases themselves, as someone with write access sees them."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from fusion_store import TokenRepository
from fusion_store.backend import ENCRYPTION_MARK, AuthCodeRecord, Kind, SecretRecord
from tests.encryption.vaults import Row, Vault, storage


class Raw(ABC):
    """The payload rows of one store."""

    @abstractmethod
    def payload(self, row: Row) -> bytes: ...

    @abstractmethod
    def set_payload(self, row: Row, payload: bytes) -> None: ...

    @abstractmethod
    def expires_at(self, row: Row) -> int | None: ...

    @abstractmethod
    def set_expires_at(self, row: Row, expires_at: int | None) -> None: ...

    @abstractmethod
    def swap_contents(self, row: Row, other: Row) -> None:
        """Swap all that two rows have in common but what they are found by; a second time undoes it."""

    @abstractmethod
    def mark(self) -> bytes | None: ...

    @abstractmethod
    def set_mark(self, value: bytes | None) -> None: ...

    def swap_payloads(self, row: Row, other: Row) -> None:
        payload = self.payload(row)
        self.set_payload(row, self.payload(other))
        self.set_payload(other, payload)


class RawMemory(Raw):
    def __init__(self, repository: TokenRepository) -> None:
        self.state: Any = cast(Any, storage(repository))._state

    def _slot(self, row: Row) -> tuple[dict[Any, Any], object]:
        return (self.state.codes, row.hash) if row.hash else (self.state.secrets, row.place)

    def _record(self, row: Row) -> SecretRecord | AuthCodeRecord:
        table, key = self._slot(row)
        return cast("SecretRecord | AuthCodeRecord", table[key])

    def _change(self, row: Row, **fields: Any) -> None:
        table, key = self._slot(row)
        table[key] = replace(table[key], **fields)

    def payload(self, row: Row) -> bytes:
        return self._record(row).payload

    def set_payload(self, row: Row, payload: bytes) -> None:
        self._change(row, payload=payload)

    def expires_at(self, row: Row) -> int | None:
        return self._record(row).expires_at

    def set_expires_at(self, row: Row, expires_at: int | None) -> None:
        self._change(row, expires_at=expires_at)

    def swap_contents(self, row: Row, other: Row) -> None:
        first, second = (msgspec.structs.asdict(self._record(each)) for each in (row, other))
        found_by = {"hash"} if row.hash and other.hash else {"hash", "place"}
        shared = (first.keys() & second.keys()) - found_by
        self._change(row, **{name: second[name] for name in shared})
        self._change(other, **{name: first[name] for name in shared})

    def swap_entries(self, row: Row, other: Row) -> None:
        """Swap the records as they are, with what they say of their places."""
        (table, key), (other_table, other_key) = self._slot(row), self._slot(other)
        table[key], other_table[other_key] = other_table[other_key], table[key]

    def mark(self) -> bytes | None:
        return cast("bytes | None", self.state.marks.get(ENCRYPTION_MARK))

    def set_mark(self, value: bytes | None) -> None:
        if value is None:
            self.state.marks.pop(ENCRYPTION_MARK, None)
        else:
            self.state.marks[ENCRYPTION_MARK] = value


_TABLES = {Kind.OAUTH: "oauth_tokens", Kind.CREDENTIAL: "service_credentials", Kind.AUTH_CODE: "auth_codes"}


class RawSQLite(Raw):
    def __init__(self, vault: Vault) -> None:
        self.connection = sqlite3.connect(vault.folder / "vault.db", isolation_level=None, timeout=5)
        self.connection.execute("PRAGMA synchronous=OFF")
        self._columns = {
            table: self.connection.execute(f"PRAGMA table_info({table})").fetchall() for table in _TABLES.values()
        }

    def _where(self, row: Row) -> tuple[str, list[str]]:
        place = row.place
        if row.hash:
            return "hash = ?", [row.hash]
        if place.kind is Kind.CREDENTIAL:
            names = "tenant_hash = ? AND service = ? AND credential_type = ?"
            return names, [place.tenant_hash, place.service, place.credential_type]
        return "tenant_hash = ? AND service = ?", [place.tenant_hash, place.service]

    def _read(self, row: Row, columns: Sequence[str]) -> tuple[Any, ...]:
        where, values = self._where(row)
        query = f"SELECT {', '.join(columns)} FROM {_TABLES[row.place.kind]} WHERE {where}"
        return cast("tuple[Any, ...]", self.connection.execute(query, values).fetchone())

    def _write(self, row: Row, columns: Sequence[str], contents: Sequence[Any]) -> None:
        where, values = self._where(row)
        assignments = ", ".join(f"{column} = ?" for column in columns)
        query = f"UPDATE {_TABLES[row.place.kind]} SET {assignments} WHERE {where}"
        assert self.connection.execute(query, [*contents, *values]).rowcount == 1

    def payload(self, row: Row) -> bytes:
        return cast(bytes, self._read(row, ["payload"])[0])

    def set_payload(self, row: Row, payload: bytes) -> None:
        self._write(row, ["payload"], [payload])

    def expires_at(self, row: Row) -> int | None:
        return cast("int | None", self._read(row, ["expires_at"])[0])

    def set_expires_at(self, row: Row, expires_at: int | None) -> None:
        self._write(row, ["expires_at"], [expires_at])

    def swap_contents(self, row: Row, other: Row) -> None:
        columns = [name for name in self._contents(row) if name in self._contents(other)]
        if row.hash or other.hash:
            never_empty = [self.expires_at(each) is not None for each in (row, other)]
            columns = [name for name in columns if name != "expires_at" or all(never_empty)]
        first, second = self._read(row, columns), self._read(other, columns)
        self._write(row, columns, second)
        self._write(other, columns, first)

    def _contents(self, row: Row) -> list[str]:
        return [name for _, name, _, _, _, key in self._columns[_TABLES[row.place.kind]] if not key]

    def mark(self) -> bytes | None:
        found = self.connection.execute("SELECT value FROM marks WHERE name = ?", [ENCRYPTION_MARK]).fetchone()
        return None if found is None else cast(bytes, found[0])

    def set_mark(self, value: bytes | None) -> None:
        self.connection.execute("DELETE FROM marks WHERE name = ?", [ENCRYPTION_MARK])
        if value is not None:
            self.connection.execute("INSERT INTO marks VALUES (?, ?)", [ENCRYPTION_MARK, value])


# In the value of a secret, and in that of a code.
_PAYLOAD_FIELD = (1, 0)
_EXPIRY_FIELD = (2, 1)


class RawLevelDB(Raw):
    """The values of the open database, which no second handle could open meanwhile."""

    def __init__(self, repository: TokenRepository) -> None:
        self._session = cast(Any, storage(repository))._handle._session
        self.database: Any = self._session._source

    def _key(self, row: Row) -> bytes:
        from fusion_store_leveldb import _keys as keys

        return keys.code(row.hash, row.place) if row.hash else keys.secret(row.place)

    def _fields(self, row: Row) -> list[Any]:
        return cast("list[Any]", msgspec.msgpack.decode(self.database.get(self._key(row))[1:]))

    def _set(self, row: Row, field: int, content: object) -> None:
        fields = self._fields(row)
        fields[field] = content
        self.database.put(self._key(row), b"\x01" + msgspec.msgpack.encode(fields))

    def payload(self, row: Row) -> bytes:
        return cast(bytes, self._fields(row)[_PAYLOAD_FIELD[bool(row.hash)]])

    def set_payload(self, row: Row, payload: bytes) -> None:
        self._set(row, _PAYLOAD_FIELD[bool(row.hash)], payload)

    def expires_at(self, row: Row) -> int | None:
        return cast("int | None", self._fields(row)[_EXPIRY_FIELD[bool(row.hash)]])

    def set_expires_at(self, row: Row, expires_at: int | None) -> None:
        self._set(row, _EXPIRY_FIELD[bool(row.hash)], expires_at)

    def swap_contents(self, row: Row, other: Row) -> None:
        first, second = (self.database.get(self._key(each)) for each in (row, other))
        self.database.put(self._key(row), second)
        self.database.put(self._key(other), first)

    def mark(self) -> bytes | None:
        from fusion_store_leveldb import _keys as keys

        found: bytes | None = self.database.get(keys.mark(ENCRYPTION_MARK))
        return None if found is None else found[1:]

    def set_mark(self, value: bytes | None) -> None:
        from fusion_store_leveldb import _keys as keys
        from fusion_store_leveldb._session import Changes

        key, changes = keys.mark(ENCRYPTION_MARK), Changes()
        if value is None:
            changes.delete(key)
        else:
            changes.put(key, b"\x01" + value)
        # As whoever has the store open would, which keeps marks in memory.
        self._session.write(changes)
