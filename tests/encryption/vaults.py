"""Sealed vaults on every backend: where they lie, and what fills them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

from fusion_store import (
    CredentialType,
    FusionStoreError,
    OAuthTokenData,
    ServiceCredentials,
    TokenRepository,
    get_repository,
)
from fusion_store.backend import Kind, Place, Record, RecordRepository, hash_token
from fusion_store.layers import Cipher, Key, Keyring, Layer
from fusion_store.testing import ManualClock

BACKENDS: Final = ["memory", "sqlite", *(["leveldb"] if find_spec("plyvel") else [])]
ON_DISK: Final = BACKENDS[1:]
CIPHERS: Final = list(Cipher)

TTL: Final = timedelta(hours=1)


class Row(NamedTuple):
    """Where a payload lies; ``hash`` is an auth code's."""

    place: Place
    hash: str = ""

    @property
    def named(self) -> tuple[str, str, str]:
        """What errors and reports say of it."""
        return self.place.tenant_hash, self.place.kind, self.place.service


@dataclass
class Vault:
    """One store of one backend, and the key that seals it."""

    backend: str
    url: str
    folder: Path
    cipher: Cipher
    key: Key
    clock: ManualClock
    _opened: ExitStack

    def open(self, *keys: Key, cipher: Cipher | None = None) -> TokenRepository:
        """Opened with these keys, or without any; closed at the end of the test."""
        keyring = Keyring(keys, cipher=cipher or self.cipher) if keys else None
        return self._opened.enter_context(get_repository(self.url, encryption_keys=keyring, clock=self.clock))

    def sealed(self) -> TokenRepository:
        """Opened with its key."""
        return self.open(self.key)

    def close(self) -> None:
        """Close all that was opened."""
        self._opened.close()

    def elsewhere(self, name: str) -> Vault:
        """Another store of the same kind and key."""
        return place_vault(self.backend, self.folder / name, self.cipher, self._opened, key=self.key, clock=self.clock)


def place_vault(
    backend: str,
    folder: Path,
    cipher: Cipher,
    opened: ExitStack,
    *,
    key: Key | None = None,
    clock: ManualClock | None = None,
) -> Vault:
    """A place for a store, empty at first."""
    urls = {
        "memory": f"memory://{uuid4().hex}",
        "sqlite": f"sqlite:///{folder}/vault.db",
        "leveldb": f"leveldb:///{folder}/vault?lock_timeout=0",
    }
    return Vault(backend, urls[backend], folder, cipher, key or Key.generate(), clock or ManualClock(), opened)


@dataclass
class Contents:
    """What ``fill`` has put into a store."""

    rows: list[Row] = field(default_factory=list)
    codes: dict[str, str] = field(default_factory=dict)
    """Auth codes by their hashes."""

    def read(self, repository: TokenRepository, row: Row) -> Any:
        """The row by the typed operation that leads to it."""
        place = row.place
        if place.kind is Kind.OAUTH:
            return repository.get_oauth_token(place.tenant_hash, place.service)
        if place.kind is Kind.CREDENTIAL:
            return repository.get_credentials(place.tenant_hash, place.service, CredentialType(place.credential_type))
        return repository.redeem_auth_code(self.codes[row.hash])

    def list_beside(self, repository: TokenRepository, row: Row) -> Any:
        """The list that the row stands in; None for an auth code."""
        if row.place.kind is Kind.OAUTH:
            return repository.list_oauth_tokens(row.place.tenant_hash)
        if row.place.kind is Kind.CREDENTIAL:
            return repository.list_credentials(row.place.tenant_hash)
        return None


def fill(repository: TokenRepository, now: datetime, secret: str = "secret") -> Contents:
    """Two tenants with payloads of every kind and type, with and without expiry, several with the same one."""
    contents = Contents()
    first, second = (repository.add_api_token(name).hash for name in ("first", "second"))
    expiry = now + TTL

    def oauth(tenant: str, service: str, expires_at: datetime | None) -> None:
        token = OAuthTokenData(f"{secret}-access", f"{secret}-refresh", expires_at=expires_at)
        repository.store_oauth_token(tenant, service, token)
        contents.rows.append(Row(Place(tenant, Kind.OAUTH, service)))

    def credential(tenant: str, service: str, kind: CredentialType, expires_at: datetime | None) -> None:
        stored = ServiceCredentials(kind, {"key": f"{secret}-credential"}, expires_at=expires_at)
        repository.store_credentials(tenant, service, stored)
        contents.rows.append(Row(Place(tenant, Kind.CREDENTIAL, service, kind)))

    def code(tenant: str, service: str) -> None:
        text = repository.create_auth_code(tenant, service, ttl=TTL, payload={"verifier": f"{secret}-code"})
        hash = hash_token(text)
        assert hash is not None
        contents.codes[hash] = text
        contents.rows.append(Row(Place(tenant, Kind.AUTH_CODE, service), hash))

    oauth(first, "github", expiry)
    oauth(first, "mail", None)
    credential(first, "github", CredentialType.API_KEY, expiry)
    credential(first, "github", CredentialType.BEARER, None)
    credential(first, "github", CredentialType.BASIC_AUTH, expiry)
    credential(first, "github", CredentialType.CUSTOM, None)
    credential(first, "mail", CredentialType.API_KEY, expiry)
    code(first, "github")
    code(first, "github")
    oauth(second, "github", expiry)
    credential(second, "github", CredentialType.API_KEY, expiry)
    credential(second, "github", CredentialType.CUSTOM, None)
    code(second, "github")
    return contents


def storage(repository: TokenRepository) -> RecordRepository:
    """The repository below all layers."""
    while isinstance(repository, Layer):
        repository = repository.inner
    assert isinstance(repository, RecordRepository)
    return repository


def all_records(repository: RecordRepository) -> list[Record]:
    """Every raw record, which has to be readable."""
    page = repository.scan_records(None, 1000)
    assert not page.corrupt
    return list(page.records)


def outcome(call: Callable[[], object]) -> object:
    """What a call answers, or the error that it raises."""
    try:
        return call()
    except FusionStoreError as error:
        return error
