"""Damages files of a store, and reads all that can be read of it, in a process that it may take down."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from fusion_store import (
    SYSTEM_TENANT,
    APITokenMetadata,
    AuditRecord,
    CredentialType,
    FusionStoreError,
    OAuthTokenData,
    ServiceCredentials,
    TokenRepository,
)
from fusion_store.backend import SEALED_MAGIC, AuthCodeRecord, ExportedRecord, SecretRecord, hash_token
from tests.crash.stores import Store

_HOUR: Final = timedelta(hours=1)
_KIND: Final = CredentialType.API_KEY
_SERVICES: Final = ("github", "mail", "é/😀")

Value = str | None | FusionStoreError
"""What is read of a place."""


@dataclass
class History:
    """By place, every value that ever stood there, the last one last; None where a record was deleted."""

    tokens: list[str] = field(default_factory=list)
    values: dict[str, list[str | None]] = field(default_factory=dict)


def furnish(vault: TokenRepository, history: History, name: str) -> None:
    """Tenants with records, some of them stored again, deleted or revoked."""
    issued = [vault.add_api_token(f"{name} {number}", scopes=["read", "write"]) for number in range(8)]
    history.tokens += [token.token for token in issued]
    tenants = [token.hash for token in issued]
    for generation in ("older", "newer"):
        for tenant in tenants:
            for service in _SERVICES:
                value = f"{generation} {tenant} {service} " * 10
                vault.store_oauth_token(tenant, service, OAuthTokenData(value))
                vault.store_credentials(tenant, service, ServiceCredentials(_KIND, {"key": value}))
            vault.create_auth_code(tenant, "login", ttl=_HOUR, payload={"to": f"{generation} {tenant}"})
        take_down(vault, history)
    for tenant in tenants:
        vault.delete_oauth_token(tenant, "mail")
    take_down(vault, history)
    for tenant in tenants[:3]:
        vault.delete_tenant(tenant)
    vault.store_oauth_token(SYSTEM_TENANT, name, OAuthTokenData(name))
    take_down(vault, history)


def take_down(vault: TokenRepository, history: History) -> None:
    """Note what the store holds now."""
    seen = dict(read(vault, history))
    for place in {*seen, *history.values}:
        value = seen.get(place)
        assert not isinstance(value, FusionStoreError), value
        if place not in history.values or history.values[place][-1] != value:
            history.values.setdefault(place, []).append(value)


def read(vault: TokenRepository, history: History) -> Iterator[tuple[str, Value]]:
    """Each place and what it is read as, by every operation that leads there."""
    tenants = [hash for hash in map(hash_token, history.tokens) if hash] + [SYSTEM_TENANT]
    for number, token in enumerate(history.tokens):
        yield from one(f"validated {number}", vault.validate_api_token, token)
        yield from one(f"token {number}", vault.get_api_token, tenants[number])
        yield from each(f"found {number}", lambda tenant: by_hash(vault.find_api_tokens(tenant)), tenants[number])
    for number, tenant in enumerate(tenants):
        for service in _SERVICES:
            yield from one(f"oauth {number} {service}", vault.get_oauth_token, tenant, service)
            yield from one(f"credential {number} {service}", vault.get_credentials, tenant, service, _KIND)
        yield from each(f"listed oauth {number}", vault.list_oauth_tokens, tenant)
        yield from each(f"listed credential {number}", vault.list_credentials, tenant)
        yield from each(f"audit {number}", lambda tenant: by_sequence(vault.audit_log(tenant_hash=tenant)), tenant)
    yield from each("audit", lambda: {(r.tenant_hash, r.sequence): r for r in vault.audit_log(limit=100_000)})
    yield from each("listed token", lambda: by_hash(vault.iter_api_tokens()))
    yield from each("listed tenant", lambda: {t.tenant_hash: t.created_at for t in vault.list_tenants()})
    yield from each("exported", lambda: {place_of(record): unsealed(record) for record in vault.export_records()})


def one(place: str, act: Callable[..., object], *arguments: object) -> Iterator[tuple[str, Value]]:
    try:
        yield place, text(act(*arguments))
    except FusionStoreError as error:
        yield place, error


def each(place: str, act: Callable[..., Mapping[Any, object]], *arguments: object) -> Iterator[tuple[str, Value]]:
    """What a listing holds, one by one; an error of the listing as one."""
    try:
        for name, value in act(*arguments).items():
            yield f"{place} {name}", text(value)
    except FusionStoreError as error:
        yield place, error


def by_hash(tokens: Iterable[APITokenMetadata]) -> dict[str, APITokenMetadata]:
    return {token.hash: token for token in tokens}


def by_sequence(records: Iterable[AuditRecord]) -> dict[int, AuditRecord]:
    return {record.sequence: record for record in records}


def place_of(record: ExportedRecord) -> str:
    """What tells an exported record from all others."""
    fields = {"place": None} | msgspec.to_builtins(record, builtin_types=(bytes,))
    return " ".join(str(fields.get(name)) for name in ("record", "tenant_hash", "hash", "place", "name"))


def unsealed(record: ExportedRecord) -> ExportedRecord:
    """The record without a sealed payload: that is exported unopened, and damage to it shows when it is opened."""
    is_sealed = isinstance(record, SecretRecord | AuthCodeRecord) and record.payload.startswith(SEALED_MAGIC)
    return msgspec.structs.replace(record, payload=b"") if is_sealed else record


def text(value: object) -> str | None:
    """A value as text that can be compared; without when a token was last used, which no checksum covers."""
    if value is None:
        return None
    fields = msgspec.to_builtins(value)
    fields.pop("last_used", None) if isinstance(fields, dict) else None
    return msgspec.json.encode(fields).decode()


def damage(path: Path, choose: random.Random, *, delete: bool) -> str:
    """Do something to a file; answers what."""
    if delete:
        path.unlink()
        return "deleted"
    data = bytearray(path.read_bytes())
    at = choose.randrange(len(data) or 1)
    how = choose.choice(["flipped", "flipped", "flipped", "truncated", "zeroed"])
    if not data:
        data += bytes([choose.randrange(256)])
    elif how == "flipped":
        data[at] ^= 1 << choose.randrange(8)
    elif how == "truncated":
        del data[at:]
    else:
        size = choose.choice([16, 512, 4096])
        at -= at % size
        data[at : at + size] = bytes(len(data[at : at + size]))
    path.write_bytes(data)
    return f"{how} at {at} of {len(data)}"


@dataclass
class Verdict:
    """What reading a damaged store came to."""

    wrong: list[str] = field(default_factory=list)
    older: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    errors: set[str] = field(default_factory=set)
    is_reported: bool = False
    """Whether the store couldn't be opened, or ``check`` finds something."""

    def kind(self) -> str:
        """In one or two words."""
        if self.older or (self.lost and not self.is_reported):
            return "went back in time"
        return "reported" if self.is_reported or self.errors else "harmless"

    def __str__(self) -> str:
        parts = (
            f"{len(places)} {name}: {places[:2]}" for name, places in vars(self).items() if isinstance(places, list)
        )
        return f"{'; '.join(parts)}; errors: {self.errors}"


def examine(kind: str, folder: str, history: History) -> Verdict:
    """Open a damaged store as a host does, and compare all that it says with what was stored."""
    verdict = Verdict()
    try:
        vault = Store(kind, Path(folder)).open(create=True)
    except FusionStoreError as error:
        verdict.errors.add(type(error).__name__)
        verdict.is_reported = True
        return verdict
    try:
        seen = dict(read(vault, history))
        verdict.is_reported = not vault.check().ok
        for place in {*seen, *history.values}:
            judge(verdict, place, seen.get(place), history.values.get(place, [None]))
        with suppress(FusionStoreError):
            vault.add_api_token("afterwards")
    finally:
        vault.close()
    return verdict


def judge(verdict: Verdict, place: str, value: Value, values: list[str | None]) -> None:
    """Hold what was read against what stood there, at last or ever."""
    if isinstance(value, FusionStoreError):
        verdict.errors.add(type(value).__name__)
    elif value == values[-1]:
        pass
    elif value is None:
        verdict.lost.append(place)
    elif value in values:
        verdict.older.append(f"{place}: {str(value)[:300]}")
    else:
        verdict.wrong.append(f"{place}: {str(value)[:300]}")
