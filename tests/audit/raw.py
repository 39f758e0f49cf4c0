"""Reaches into the storage of a vault, past everything that would notice."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

FIELDS = (
    "recorded_at",
    "action",
    "actor",
    "outcome",
    "service",
    "credential_type",
    "token_id",
    "key_id",
    "detail",
    "previous",
    "hash",
)


class RawTrail(ABC):
    """The audit trail of a vault that nobody has open."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "vault"

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def read(self, tenant_hash: str, sequence: int) -> dict[str, Any]: ...

    @abstractmethod
    def write(self, tenant_hash: str, sequence: int, record: dict[str, Any]) -> None: ...

    @abstractmethod
    def remove(self, tenant_hash: str, sequence: int) -> None: ...

    @abstractmethod
    def write_chain(self, tenant_hash: str, first: int, last: int, hash: str, recorded_at: int) -> None: ...

    @abstractmethod
    def remove_chain(self, tenant_hash: str) -> None: ...

    @abstractmethod
    def spoil(self, tenant_hash: str, sequence: int) -> None:
        """Write something that no record is read from."""

    def alter(self, tenant_hash: str, sequence: int, **fields: Any) -> None:
        self.write(tenant_hash, sequence, {**self.read(tenant_hash, sequence), **fields})

    def end_chain(self, tenant_hash: str, first: int, last: int) -> None:
        """Let the chain end with the record that stands there."""
        record = self.read(tenant_hash, last)
        self.write_chain(tenant_hash, first, last, record["hash"], record["recorded_at"])

    def swap(self, tenant_hash: str, one: int, other: int) -> None:
        first, second = self.read(tenant_hash, one), self.read(tenant_hash, other)
        self.write(tenant_hash, one, second)
        self.write(tenant_hash, other, first)


class RawSQLite(RawTrail):
    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def _run(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()

    def read(self, tenant_hash: str, sequence: int) -> dict[str, Any]:
        query = f"SELECT {', '.join(FIELDS)} FROM audit_records WHERE tenant_hash = ? AND sequence = ?"
        (row,) = self._run(query, tenant_hash, sequence)
        return dict(zip(FIELDS, row, strict=True))

    def write(self, tenant_hash: str, sequence: int, record: dict[str, Any]) -> None:
        marks = ", ".join("?" * (len(record) + 2))
        columns = ", ".join(("tenant_hash", "sequence", *record))
        self._run(
            f"INSERT OR REPLACE INTO audit_records ({columns}) VALUES ({marks})",
            tenant_hash,
            sequence,
            *record.values(),
        )

    def remove(self, tenant_hash: str, sequence: int) -> None:
        self._run("DELETE FROM audit_records WHERE tenant_hash = ? AND sequence = ?", tenant_hash, sequence)

    def write_chain(self, tenant_hash: str, first: int, last: int, hash: str, recorded_at: int) -> None:
        statement = "INSERT OR REPLACE INTO audit_chains VALUES (?, ?, ?, ?, ?)"
        self._run(statement, tenant_hash, first, last, hash, recorded_at)

    def remove_chain(self, tenant_hash: str) -> None:
        self._run("DELETE FROM audit_chains WHERE tenant_hash = ?", tenant_hash)

    def spoil(self, tenant_hash: str, sequence: int) -> None:
        self._run(
            "UPDATE audit_records SET detail = X'FF', recorded_at = 'noon', actor = CAST(X'FE' AS TEXT) "
            "WHERE tenant_hash = ? AND sequence = ?",
            tenant_hash,
            sequence,
        )


class RawLevelDB(RawTrail):
    @property
    def url(self) -> str:
        return f"leveldb:///{self.path}"

    def _database(self) -> Any:
        import plyvel

        return closing(plyvel.DB(str(self.path)))

    @staticmethod
    def _key(tenant_hash: str, sequence: int) -> bytes:
        from fusion_store_leveldb import _keys as keys

        return keys.audit_record(tenant_hash, sequence)

    def read(self, tenant_hash: str, sequence: int) -> dict[str, Any]:
        with self._database() as database:
            value = database.get(self._key(tenant_hash, sequence))
        return dict(zip(FIELDS, msgspec.msgpack.decode(value[1:]), strict=True))

    def write(self, tenant_hash: str, sequence: int, record: dict[str, Any]) -> None:
        from fusion_store_leveldb import _keys as keys

        self.remove(tenant_hash, sequence)
        value = b"\1" + msgspec.msgpack.encode([record[field] for field in FIELDS])
        with self._database() as database:
            database.put(self._key(tenant_hash, sequence), value)
            database.put(keys.audit_time(record["recorded_at"], tenant_hash, sequence), b"")

    def remove(self, tenant_hash: str, sequence: int) -> None:
        from fusion_store_leveldb import _keys as keys

        key = self._key(tenant_hash, sequence)
        with self._database() as database:
            value = database.get(key)
            if value is not None:
                recorded_at, *_ = msgspec.msgpack.decode(value[1:])
                database.delete(keys.audit_time(recorded_at, tenant_hash, sequence))
            database.delete(key)

    def write_chain(self, tenant_hash: str, first: int, last: int, hash: str, recorded_at: int) -> None:
        from fusion_store_leveldb import _keys as keys

        value = b"\1" + msgspec.msgpack.encode([first, last, hash, recorded_at])
        with self._database() as database:
            database.put(keys.audit_chain(tenant_hash), value)

    def remove_chain(self, tenant_hash: str) -> None:
        from fusion_store_leveldb import _keys as keys

        with self._database() as database:
            database.delete(keys.audit_chain(tenant_hash))

    def spoil(self, tenant_hash: str, sequence: int) -> None:
        with self._database() as database:
            database.put(self._key(tenant_hash, sequence), b"\1\xc1")
