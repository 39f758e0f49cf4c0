"""Pages, and finding by prefix."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from benchmarks import tenants
from benchmarks.floors import RawLevelDB, RawSQL, raw
from benchmarks.measuring import Comparison, Work, each, repeat
from benchmarks.stores import Store, Stores

_PAGE: Final = 100


def pages(stores: Stores) -> Iterator[Comparison]:
    """Pages of 100 API tokens: in the middle, and the last against the first."""
    for scheme in stores.schemes:
        store = stores.get(scheme)
        yield Comparison(
            f"{scheme}: page of 100 / raw keyset page",
            _pages(store, _starts(store, 1)),
            raw(store).pages(_starts(store, 2), _PAGE),
            1.5,
            calls=2,
            rounds=150,
        )
        yield Comparison(
            f"{scheme}: last page / first page",
            _pages(store, [store.tenants - _PAGE - 1]),
            repeat(partial(store.vault.list_api_tokens, limit=_PAGE)),
            1.5,
            calls=2,
            rounds=150,
        )


def prefixes(stores: Stores) -> Iterator[Comparison]:
    """API tokens found by their visible prefix."""
    for scheme in stores.schemes:
        store = stores.get(scheme)
        find = each(store.vault.find_api_tokens, store.sample(_prefix, 1))
        driver = raw(store)
        if isinstance(driver, RawLevelDB):
            yield Comparison("leveldb: find by prefix / two raw iterators", find, _two_iterators(driver), 1.5)
        else:
            assert isinstance(driver, RawSQL)
            limit = 2 if scheme != "mariadb" else None
            yield Comparison(f"{scheme}: find by prefix / point read", find, driver.point_read(2), limit, rounds=150)


def _starts(store: Store, seed: int) -> list[int]:
    return random.Random(seed).sample(range(store.tenants - _PAGE), 100)  # noqa: S311


def _pages(store: Store, starts: list[int]) -> Work:
    cursors = [f"{tenants.created_at(after)}.{tenants.tenant_hash(after)}" for after in starts]
    return each(lambda cursor: store.vault.list_api_tokens(after=cursor, limit=_PAGE), cursors)


def _prefix(number: int) -> str:
    return tenants.api_token(number)[:8]


def _two_iterators(driver: RawLevelDB) -> Work:
    from fusion_store_leveldb import _keys as keys

    def ranges(number: int) -> Any:
        prefix = _prefix(number)
        return keys.hash_prefix_range(keys.TOKENS_BY_HASH, prefix), keys.token_prefix_range(prefix)

    return driver.two_iterators(driver.store.sample(ranges, 2))
