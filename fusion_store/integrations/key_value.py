"""py-key-value: a store whose entries lie in the vault, for anything that takes an ``AsyncKeyValue``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import CorruptRecord, EncryptionError, FusionStoreError, StoreError
from fusion_store._interface import TokenRepository
from fusion_store._values import SYSTEM_TENANT, CredentialType, ServiceCredentials
from fusion_store.backend._limits import MAX_CREDENTIAL_BYTES
from fusion_store.integrations._extras import missing
from fusion_store.integrations._failures import NotedFailures

try:
    from key_value.aio import errors as peer
    from key_value.aio.stores.base import BaseStore, ManagedEntry
except ImportError as error:
    raise missing("key_value", "key-value") from error

__all__ = ["FusionKeyValueStore"]

MAX_ENTRY_BYTES: Final = MAX_CREDENTIAL_BYTES
_PREFIX: Final = "key-value:"

T = TypeVar("T")


class FusionKeyValueStore(BaseStore):
    """An ``AsyncKeyValue`` on the vault: entries of one tenant, by default the host's own (``SYSTEM_TENANT``).

    ``repository`` may be of either kind; it is asked in threads, and stays the caller's to close. Many stores, say one
    a tenant, share the threads of one ``AsyncTokenRepository``. Stores over the same vault and tenant share their
    entries, in whatever process they are.

    An entry is a ``custom`` credential of a service called ``key-value:`` with a hash of collection and key, both of
    any length: names and value are in its payload alone, sealed where the vault is. Together they may have 64 KiB as
    JSON, else ``ValueTooLargeError``. Entries end by the vault's clock, and leave the store with ``purge_expired``.

    ``put_many`` writes nothing where one of the values can't be kept; the entries themselves are written one by one.
    What fails in the vault is an error of py-key-value (``key_value.aio.errors``), and the vault's own its cause:

    - ``StoreConnectionError``: the storage can't do its work (``StoreError``);
    - ``EncryptionError``: an entry can't be sealed or opened;
    - ``DeserializationError``: a record isn't one that this class wrote;
    - ``KeyValueStoreError``: anything else, such as a tenant that is gone.
    """

    def __init__(
        self,
        repository: TokenRepository | AsyncTokenRepository,
        *,
        tenant_hash: str = SYSTEM_TENANT,
        default_collection: str | None = None,
    ) -> None:
        if not isinstance(repository, AsyncTokenRepository):
            repository = AsyncTokenRepository(repository)
        self._repository: AsyncTokenRepository = repository
        self._vault = repository.repository
        self._tenant_hash = tenant_hash
        self._clock: Callable[[], datetime] = getattr(self._vault, "clock", None) or _system_clock
        super().__init__(default_collection=default_collection, stable_api=True)

    async def _get_managed_entry(self, *, collection: str, key: str) -> ManagedEntry | None:
        return (await self._get_managed_entries(collection=collection, keys=[key]))[0]

    async def _get_managed_entries(self, *, collection: str, keys: Sequence[str]) -> list[ManagedEntry | None]:
        return await self._run(lambda: [self._read(collection, key) for key in keys])

    async def _put_managed_entry(self, *, collection: str, key: str, managed_entry: ManagedEntry) -> None:
        await self._put_managed_entries(collection=collection, keys=[key], managed_entries=[managed_entry])

    async def _put_managed_entries(
        self, *, collection: str, keys: Sequence[str], managed_entries: Sequence[ManagedEntry], **_: Any
    ) -> None:
        entries = list(zip(keys, managed_entries, strict=True))
        await self._run(lambda: self._write(collection, entries))

    async def _delete_managed_entry(self, *, key: str, collection: str) -> bool:
        return await self._delete_managed_entries(keys=[key], collection=collection) == 1

    async def _delete_managed_entries(self, *, keys: Sequence[str], collection: str) -> int:
        return await self._run(lambda: self._delete(collection, keys))

    async def _run(self, call: Callable[[], T]) -> T:
        with _peers_errors(), NotedFailures():
            return await self._repository._run(call)

    def _read(self, collection: str, key: str) -> ManagedEntry | None:
        now = self._clock()
        found = self._vault.get_credentials(self._tenant_hash, _service(collection, key), CredentialType.CUSTOM)
        if found is None:
            return None
        left = None if found.expires_at is None else found.expires_at - now
        return _LiveEntry(value=_unpack(found.data, collection, key), left=left)

    def _write(self, collection: str, entries: Sequence[tuple[str, ManagedEntry]]) -> None:
        records = [(_service(collection, key), self._credentials(collection, key, entry)) for key, entry in entries]
        for service, credentials in records:
            self._vault.store_credentials(self._tenant_hash, service, credentials)

    def _credentials(self, collection: str, key: str, entry: ManagedEntry) -> ServiceCredentials:
        data = _pack(collection, key, entry)
        lifetime = _lifetime(entry)
        try:
            expires_at = None if lifetime is None else self._clock() + lifetime
        except OverflowError:
            raise peer.InvalidTTLError(entry.ttl) from None
        return ServiceCredentials(CredentialType.CUSTOM, data, expires_at)

    def _delete(self, collection: str, keys: Sequence[str]) -> int:
        services = [_service(collection, key) for key in keys]
        delete = self._vault.delete_credentials
        return sum(delete(self._tenant_hash, service, CredentialType.CUSTOM) for service in services)


@dataclass(kw_only=True)
class _LiveEntry(ManagedEntry):
    """An entry that lives by the vault's clock, whatever the system's says."""

    left: timedelta | None

    @property
    def is_expired(self) -> bool:
        return False

    @property
    def ttl(self) -> float | None:
        return None if self.left is None else self.left.total_seconds()


def _system_clock() -> datetime:
    return datetime.now(UTC)


def _lifetime(entry: ManagedEntry) -> timedelta | None:
    """What is left of an entry that py-key-value made, by the system's clock."""
    return None if entry.expires_at is None else entry.expires_at - (entry.created_at or _system_clock())


def _service(collection: str, key: str) -> str:
    """Where an entry lies. The length in front keeps ("a", "bc") and ("ab", "c") apart."""
    try:
        return _PREFIX + sha256(f"{len(collection)}:{collection}{key}".encode()).hexdigest()
    except UnicodeEncodeError:
        raise peer.InvalidKeyError("Neither a collection nor a key may hold surrogates.") from None


def _pack(collection: str, key: str, entry: ManagedEntry) -> dict[str, str]:
    """A credential's data. The value is text in it, since the vault's limits on JSON aren't py-key-value's: what is
    deeper than 16 or beyond 64 bits is kept."""
    try:
        text = json.dumps([collection, key, entry.value_as_dict], ensure_ascii=False, separators=(",", ":"))
        data = {"entry": text}
        size = len(msgspec.json.encode(data))
    except (TypeError, ValueError, RecursionError) as error:
        raise peer.SerializationError(f"The value can't be kept as JSON: {type(error).__name__}.") from None
    if size > MAX_ENTRY_BYTES:
        # Its key may be a secret, such as an authorization code.
        raise peer.ValueTooLargeError(size, MAX_ENTRY_BYTES, collection)
    return data


def _unpack(data: dict[str, Any], collection: str, key: str) -> dict[str, Any]:
    try:
        *names, value = json.loads(data["entry"])
    except (KeyError, TypeError, ValueError, RecursionError):
        names, value = [], None
    if names != [collection, key] or not isinstance(value, dict):
        raise peer.DeserializationError("The record isn't one that FusionKeyValueStore wrote for this key.")
    return value


@contextmanager
def _peers_errors() -> Iterator[None]:
    try:
        yield
    except CorruptRecord as error:
        raise peer.DeserializationError(str(error)) from error
    except StoreError as error:
        raise peer.StoreConnectionError(f"{type(error).__name__}: {error}") from error
    except EncryptionError as error:
        raise peer.EncryptionError(f"{type(error).__name__}: {error}") from error
    except FusionStoreError as error:
        raise peer.KeyValueStoreError(f"{type(error).__name__}: {error}") from error
