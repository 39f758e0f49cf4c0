"""Stores on disk that tests kill, copy and damage, and what is compared of them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from fusion_store import TokenRepository, get_repository
from fusion_store.layers import Key, Keyring
from fusion_store.testing import ManualClock

BACKENDS: Final = ["sqlite", *["leveldb"] * (find_spec("plyvel") is not None)]
KINDS: Final = [name for backend in BACKENDS for name in (backend, f"{backend}+sealed")]
AUDITED: Final = [f"{backend}+audited" for backend in BACKENDS]
KEYS: Final = [Key(bytes([number] * 32)) for number in range(2)]
"""The key of a sealed store, and the one that it is changed to."""

_SQLITE_FILES: Final = ("", "-wal", "-shm", "-journal")
_LEVELDB_FILES: Final = ("CURRENT", "LOCK", "LOG", "LOG.old", "FUSION-STORE")
_MOST_LEVELDB_FILES: Final = 40


@dataclass(frozen=True)
class Store:
    """A place in a folder of its own, for a store of one kind."""

    kind: str
    folder: Path

    @property
    def backend(self) -> str:
        return self.kind.partition("+")[0]

    @property
    def is_sealed(self) -> bool:
        return self.kind.endswith("+sealed")

    @property
    def path(self) -> Path:
        """Where the store itself lies: a file or a folder."""
        return self.folder / ("vault.db" if self.backend == "sqlite" else "vault")

    @property
    def url(self) -> str:
        return f"{self.backend}:///{self.path}?lock_timeout=1"

    def watched(self) -> list[Path]:
        """Every path that the store's files have or may have soon, and its folders."""
        if self.backend == "sqlite":
            return [self.folder, *(Path(f"{self.path}{suffix}") for suffix in _SQLITE_FILES)]
        numbers = [f"{number:06}" for number in range(_MOST_LEVELDB_FILES)]
        tables = [f"{number}.{suffix}" for number in numbers for suffix in ("log", "ldb", "dbtmp")]
        manifests = [f"MANIFEST-{number}" for number in numbers]
        return [self.folder, self.path, *(self.path / name for name in (*_LEVELDB_FILES, *manifests, *tables))]

    def files(self) -> list[Path]:
        """Every file that stands."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def copy_to(self, folder: Path) -> Store:
        """The same store elsewhere, which nobody has open."""
        shutil.copytree(self.folder, folder)
        return Store(self.kind, folder)

    def open(self, *, create: bool = False, keys: list[Key] | None = None) -> TokenRepository:
        """Open the store, with the key of its kind; the caller closes it."""
        keyring = Keyring((keys or KEYS[:1]) if self.is_sealed or keys else [])
        audit = True if self.kind.endswith("+audited") else None
        return get_repository(self.url, create=create, encryption_keys=keyring, clock=ManualClock(), audit=audit)


def state(vault: TokenRepository, names: dict[str, str]) -> list[str]:
    """All that a store holds, without what chance decides; ``names`` are those of the hashes known beforehand."""
    assert vault.check().ok, vault.check()
    lines: list[Any] = []
    tenants = set()
    for record in vault.export_records():
        fields = msgspec.to_builtins(record, builtin_types=(bytes,))
        tenants.add(fields.get("tenant_hash") or fields.get("place", {}).get("tenant_hash"))
        lines.append({name: value for name, value in fields.items() if name not in ("payload", "prefix", "value")})
    for tenant in filter(None, tenants):
        for service, token in vault.list_oauth_tokens(tenant).items():
            lines.append([tenant, service, token.access_token, token.refresh_token, token.version])
        for place, credentials in vault.list_credentials(tenant).items():
            lines.append([tenant, *place, credentials.data, credentials.version])
    lines += [
        [record.tenant_hash, record.sequence, record.action, record.service, record.outcome, sorted(record.detail)]
        for record in vault.audit_log(limit=1000)
    ]
    known = re.compile(r"\b[0-9a-f]{64}\b")
    return sorted(known.sub(lambda found: names.get(found[0], "new"), json.dumps(line, default=str)) for line in lines)
