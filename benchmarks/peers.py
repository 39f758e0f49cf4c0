"""The same work done by other libraries, those that are installed; the vault's time as a multiple of theirs.

Each holds as many entries as the vault, up to 10,000, which is in the peers' favour.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.fernet import Fernet

from benchmarks import tenants
from benchmarks.measuring import Comparison, Work, each
from benchmarks.stores import Store, Stores
from fusion_store.layers import Cipher

_MOST: Final = 10_000


def peers(stores: Stores) -> Iterator[Comparison]:
    """OAuth tokens read, and API tokens validated."""
    entries = min(stores.count, _MOST)
    schemes = [scheme for scheme in ("leveldb", "sqlite") if scheme in stores.schemes]
    folder = stores.folder / "peers"
    if find_spec("diskcache"):
        if find_spec("key_value"):
            disk = _key_value(folder, "disk", entries)
            for scheme in schemes:
                sealed = _reading(stores.get(scheme, Cipher.FERNET))
                yield _beside(f"{scheme}: get OAuth token, Fernet / py-key-value disk + Fernet", sealed, disk, 0.25)
        cache = _diskcache(folder, entries)
        for scheme in schemes:
            yield _beside(f"{scheme}: get OAuth token, plain / diskcache", _reading(stores.get(scheme)), cache)
    if find_spec("rocksdict") and find_spec("key_value"):
        rocks = _key_value(folder, "rocksdb", entries)
        for scheme in schemes:
            sealed = _reading(stores.get(scheme, Cipher.FERNET))
            yield _beside(f"{scheme}: get OAuth token, Fernet / py-key-value RocksDB + Fernet", sealed, rocks)
    if find_spec("knox"):
        knox = _knox(folder, entries)
        for scheme in schemes:
            store = stores.get(scheme)
            validate = each(store.vault.validate_api_token, store.sample(tenants.api_token, 6))
            yield _beside(f"{scheme}: validate, uncached / django-rest-knox on SQLite", validate, knox)


def _beside(name: str, call: Work, peer: Work, ratio: float | None = None) -> Comparison:
    return Comparison(name, call, peer, ratio, calls=10, rounds=100)


def _reading(store: Store) -> Work:
    vault = store.vault
    return each(lambda hash: vault.get_oauth_token(hash, tenants.SERVICE), store.sample(tenants.tenant_hash, 7))


def _key_value(folder: Path, kind: str, entries: int) -> Work:
    from key_value.aio.wrappers.encryption.fernet import FernetEncryptionWrapper

    path = folder / kind
    path.mkdir(parents=True, exist_ok=True)
    inner: Any
    # Its stores call themselves unstable.
    warnings.simplefilter("ignore")
    if kind == "disk":
        from key_value.aio.stores.disk import DiskStore

        inner = DiskStore(directory=path)
    else:
        from key_value.aio.stores.rocksdb import RocksDBStore

        inner = RocksDBStore(path=path)
    store = FernetEncryptionWrapper(inner, fernet=Fernet(Fernet.generate_key()))
    keys = [tenants.tenant_hash(number) for number in range(entries)]
    loop = asyncio.new_event_loop()

    async def fill() -> None:
        await inner.setup()
        for number, key in enumerate(keys):
            await store.put(key, msgspec.to_builtins(tenants.oauth_token(number)), collection="tokens")

    loop.run_until_complete(fill())
    return _awaiting(loop, lambda key: store.get(key, collection="tokens"), keys)


def _awaiting(loop: asyncio.AbstractEventLoop, call: Callable[[str], Awaitable[object]], keys: list[str]) -> Work:
    at = 0

    async def run(count: int) -> int:
        nonlocal at
        began = time.perf_counter_ns()
        for _ in range(count):
            at = (at + 7919) % len(keys)
            await call(keys[at])
        return time.perf_counter_ns() - began

    return lambda count: loop.run_until_complete(run(count))


def _diskcache(folder: Path, entries: int) -> Work:
    from diskcache import Cache

    cache = Cache(folder / "diskcache", eviction_policy="none")
    keys = [tenants.tenant_hash(number) for number in range(entries)]
    for number, key in enumerate(keys):
        cache.set(key, msgspec.to_builtins(tenants.oauth_token(number)))
    return each(cache.get, keys)


def _knox(folder: Path, entries: int) -> Work:
    import django
    from django.conf import settings

    path = folder / "knox.db"
    path.unlink(missing_ok=True)
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "knox"],
        USE_TZ=True,
    )
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import transaction
    from knox.auth import TokenAuthentication
    from knox.models import AuthToken

    call_command("migrate", verbosity=0)
    tokens: list[bytes] = []
    with transaction.atomic():
        for number in range(entries):
            user = User.objects.create(username=f"user {number}")
            tokens.append(AuthToken.objects.create(user)[1].encode())
    return each(TokenAuthentication().authenticate_credentials, tokens)
