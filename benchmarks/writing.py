"""Durable changes: adding API tokens, storing OAuth tokens, deleting tenants."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Final

from benchmarks import tenants
from benchmarks.floors import Appender, RawSQL, new_tokens, raw_sql
from benchmarks.measuring import Comparison, Work, each, prepared, repeat
from benchmarks.stores import PLAIN, Store, Stores
from fusion_store import TokenRepository
from fusion_store.backend import Kind, Place, Record, SecretRecord, TenantRecord
from fusion_store.backend._payloads import pack_oauth
from fusion_store.layers import Cipher

THREADS: Final = 16
_SECRETS: Final = 100
_STORING: Final = (("leveldb", PLAIN, 1.6), ("leveldb", Cipher.FERNET, 2.0), ("sqlite", PLAIN, None))


def adding(stores: Stores) -> Iterator[Comparison]:
    """API tokens added by one thread, and by 16 at once; times are per token."""
    append = Appender(stores.folder).work
    for scheme in stores.schemes:
        store = stores.get(scheme)
        add = store.vault.add_api_token
        one, many = repeat(add), _threaded([add] * THREADS)
        if scheme == "leveldb":
            yield Comparison("leveldb: add, 1 thread / F", one, append, 1.5, calls=2, rounds=150)
            yield Comparison("leveldb: add, 16 threads / F", many, append, 0.5, calls=10, rounds=40)
        elif scheme == "sqlite":
            yield Comparison("sqlite: add, 1 thread / F", one, append, 2.0, calls=2, rounds=150)
            batches = _batches(raw_sql(store))
            yield Comparison("sqlite: add, 16 threads / raw batches of 16", many, batches, 1.6, calls=10, rounds=40)
        else:
            limits = (1.4, 1.3) if scheme == "postgresql" else (None, None)
            raw_one = _inserts(raw_sql(store))
            yield Comparison(f"{scheme}: add, 1 thread / raw INSERTs", one, raw_one, limits[0], calls=2, rounds=150)
            raw_many = _threaded([_insert(raw_sql(store)) for _ in range(THREADS)])
            yield Comparison(f"{scheme}: add, 16 threads / raw INSERTs", many, raw_many, limits[1], calls=10, rounds=40)


def storing(stores: Stores) -> Iterator[Comparison]:
    """OAuth tokens of 1.5 KB stored in place of others."""
    append = Appender(stores.folder).work
    for scheme, kind, limit in _STORING:
        if scheme in stores.schemes:
            store = stores.get(scheme, kind)
            yield Comparison(
                f"{scheme}: store OAuth token, {kind} / F", _storing(store), append, limit, calls=2, rounds=150
            )


def deleting(stores: Stores) -> Iterator[Comparison]:
    """Tenants with 100 secrets deleted."""
    append = Appender(stores.folder).work
    for scheme in stores.schemes:
        vault = stores.get(scheme).vault
        limit = {"leveldb": 4, "sqlite": 6}.get(scheme)
        delete = prepared(partial(_tenant_with_secrets, vault), vault.delete_tenant)
        yield Comparison(f"{scheme}: delete a tenant with 100 secrets / F", delete, append, limit, calls=1, rounds=40)


def _storing(store: Store) -> Work:
    token = tenants.oauth_token(0)
    hashes = store.sample(tenants.tenant_hash, 5)
    return each(lambda hash: store.vault.store_oauth_token(hash, tenants.SERVICE, token), hashes)


def _threaded(calls: list[Callable[[], object]]) -> Work:
    """Each call by a thread of its own, all at once; the time is per call."""
    threads = ThreadPoolExecutor(len(calls))

    def work(wanted: int) -> int:
        began = time.perf_counter_ns()
        for done in [threads.submit(repeat(call), wanted) for call in calls]:
            done.result()
        return (time.perf_counter_ns() - began) // len(calls)

    return work


def _inserts(driver: RawSQL) -> Work:
    return repeat(_insert(driver))


def _insert(driver: RawSQL) -> Callable[[], None]:
    tokens = new_tokens()
    return lambda: driver.insert(next(tokens))


def _batches(driver: RawSQL) -> Work:
    tokens = new_tokens()

    def work(wanted: int) -> int:
        began = time.perf_counter_ns()
        for _ in range(wanted):
            driver.insert(record for _ in range(THREADS) for record in next(tokens))
        return (time.perf_counter_ns() - began) // THREADS

    return work


_numbers: Final = count()


def _tenant_with_secrets(vault: TokenRepository) -> str:
    hash, created_at = os.urandom(32).hex(), tenants.created_at(next(_numbers))
    token = tenants.oauth_token(0)
    places = [Place(hash, Kind.OAUTH, f"service {number}") for number in range(_SECRETS)]
    records: list[Record] = [TenantRecord(hash, created_at)]
    for place in places:
        payload = pack_oauth(place.binding(None), token)
        records.append(SecretRecord(place, payload, None, created_at, created_at, 1))
    vault.import_records(records)
    return hash
