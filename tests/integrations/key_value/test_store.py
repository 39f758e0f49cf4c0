"""The store keeps what py-key-value promises of one, on every backend."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from blockbuster import blockbuster_ctx
from key_value.aio.errors import (
    InvalidKeyError,
    InvalidTTLError,
    KeyValueStoreError,
    SerializationError,
    ValueTooLargeError,
)
from key_value.aio.protocols import AsyncKeyValue

from fusion_store import SYSTEM_TENANT, AsyncTokenRepository, CredentialType, TokenRepository, get_repository
from fusion_store._async import DEFAULT_THREADS
from fusion_store.integrations.key_value import FusionKeyValueStore
from fusion_store.testing import ContractStore, ManualClock

T = TypeVar("T")
SECOND = timedelta(seconds=1)
LIMIT = 64 * 1024


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def deep(levels: int) -> Any:
    return {"level": deep(levels - 1)} if levels else "bottom"


def test_it_is_what_others_take(store: FusionKeyValueStore) -> None:
    assert isinstance(store, AsyncKeyValue)


def test_what_was_put_is_got_until_it_is_deleted(store: FusionKeyValueStore) -> None:
    assert run(store.get("key")) is None
    run(store.put("key", {"a": 1}))
    assert run(store.get("key")) == {"a": 1}
    run(store.put("key", {"b": [2, None, True, 1.5, "é"]}))
    assert run(store.get("key")) == {"b": [2, None, True, 1.5, "é"]}
    assert run(store.delete("key"))
    assert run(store.get("key")) is None
    assert not run(store.delete("key"))


def test_bulk_calls_answer_in_the_order_of_the_keys(store: FusionKeyValueStore) -> None:
    run(store.put_many(["a", "b"], [{"n": 1}, {"n": 2}], collection="c"))
    assert run(store.get_many(["b", "x", "a", "b"], collection="c")) == [{"n": 2}, None, {"n": 1}, {"n": 2}]
    assert run(store.ttl_many(["a", "x"], collection="c")) == [({"n": 1}, None), (None, None)]
    assert run(store.delete_many(["a", "x", "b", "a"], collection="c")) == 2
    assert run(store.get_many(["a", "b"], collection="c")) == [None, None]


def test_names_that_run_together_are_kept_apart(store: FusionKeyValueStore) -> None:
    names = [("a", "bc"), ("ab", "c"), ("a:b", "c"), ("a", "b:c"), ("1:a", "b"), ("A", "bc"), ("a", "bc "), ("é", "bc")]
    names += [
        ("e\u0301", "bc"),
        ("a\0b", "c"),
        ("a", "\0bc"),
        ("x" * 300, "y" * 5000),
        ("x" * 301, "y" * 4999),
        ("a", ""),
    ]
    for number, (collection, key) in enumerate(names):
        run(store.put(key, {"n": number}, collection=collection))
    for number, (collection, key) in enumerate(names):
        assert run(store.get(key, collection=collection)) == {"n": number}


def test_the_default_collection_is_a_collection(vault: TokenRepository) -> None:
    store = FusionKeyValueStore(vault, default_collection="mine")
    run(store.put("key", {"a": 1}))
    assert run(store.get("key", collection="mine")) == {"a": 1}
    assert run(FusionKeyValueStore(vault).get("key")) is None


def test_an_entry_ends_by_the_vaults_clock(store: FusionKeyValueStore, clock: ManualClock) -> None:
    run(store.put_many(["a", "b"], [{"n": 1}, {"n": 2}], ttl=10))
    run(store.put("c", {"n": 3}, ttl=2.5))
    clock.advance(2 * SECOND)
    assert run(store.ttl_many(["a", "b", "c"])) == [({"n": 1}, 8.0), ({"n": 2}, 8.0), ({"n": 3}, 0.5)]
    clock.advance(SECOND)
    assert run(store.ttl_many(["a", "c"])) == [({"n": 1}, 7.0), (None, None)]
    clock.advance(7 * SECOND)
    assert run(store.get_many(["a", "b", "c"])) == [None, None, None]
    assert not run(store.delete("a"))


def test_putting_again_begins_the_time_anew(store: FusionKeyValueStore, clock: ManualClock) -> None:
    run(store.put("key", {"n": 1}, ttl=10))
    clock.advance(9 * SECOND)
    run(store.put("key", {"n": 2}, ttl=10))
    assert run(store.ttl("key")) == ({"n": 2}, 10.0)
    run(store.put("key", {"n": 3}))
    clock.advance(timedelta(days=10_000))
    assert run(store.ttl("key")) == ({"n": 3}, None)


def test_purging_takes_out_what_has_ended(
    store: FusionKeyValueStore, vault: TokenRepository, clock: ManualClock
) -> None:
    run(store.put_many(["a", "b"], [{"n": 1}, {"n": 2}], ttl=10))
    run(store.put("c", {"n": 3}))
    clock.advance(10 * SECOND)
    assert vault.purge_expired()["credentials"] == 2
    assert run(store.get("c")) == {"n": 3}


def test_without_a_clock_of_its_own_the_vault_goes_by_the_systems() -> None:
    with get_repository("memory://") as vault:
        store = FusionKeyValueStore(vault)
        run(store.put("key", {"a": 1}, ttl=1000))
        value, left = run(store.ttl("key"))
    assert value == {"a": 1}
    assert left is not None
    assert 900 < left <= 1000


@pytest.mark.parametrize("ttl", [0, -1, -0.5, True])
def test_a_time_that_is_none_is_refused(store: FusionKeyValueStore, ttl: Any) -> None:
    with pytest.raises(InvalidTTLError):
        run(store.put("key", {"a": 1}, ttl=ttl))
    assert run(store.get("key")) is None


def test_a_time_beyond_the_calendar_is_refused(contract_store: ContractStore) -> None:
    with contract_store.open(ManualClock(datetime(9999, 1, 1, tzinfo=UTC))) as vault:
        store = FusionKeyValueStore(vault)
        with pytest.raises(InvalidTTLError):
            run(store.put("key", {"a": 1}, ttl=400 * 86400))
        assert run(store.get("key")) is None


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"": ""},
        {"nul": "a\0b", "\0": 1},
        {"quotes": '"\\"', "lines": "a\nb\u2028c", "astral": "🌍"},
        {"large": 10**30, "small": -(2**80), "float": 1.7976931348623157e308, "tiny": 5e-324},
        {"infinite": math.inf},
        deep(100),
    ],
    ids=["empty", "no-name", "nul", "characters", "numbers", "infinity", "deep"],
)
def test_whatever_json_holds_is_kept(store: FusionKeyValueStore, value: dict[str, Any]) -> None:
    run(store.put("key", value))
    assert run(store.get("key")) == value


@pytest.mark.parametrize(
    "value",
    [{"a": object()}, {"a": {1, 2}}, {"a": b"bytes"}, {"a": datetime.now(UTC)}, {"a": "\ud800"}, {"\ud800": 1}],
    ids=["object", "set", "bytes", "datetime", "surrogate", "surrogate-name"],
)
def test_what_json_cannot_hold_is_refused(store: FusionKeyValueStore, value: dict[str, Any]) -> None:
    with pytest.raises(SerializationError):
        run(store.put_many(["good", "bad"], [{"a": 1}, value]))
    assert run(store.get_many(["good", "bad"])) == [None, None]


def test_a_value_that_holds_itself_is_refused(store: FusionKeyValueStore) -> None:
    value: dict[str, Any] = {}
    value["self"] = value
    with pytest.raises(SerializationError):
        run(store.put("key", value))


def test_names_with_surrogates_are_refused(store: FusionKeyValueStore) -> None:
    for collection, key in (("\ud800", "key"), ("collection", "\ud83d\ude00")):
        for call in (store.put(key, {"a": 1}, collection=collection), store.get(key, collection=collection)):
            with pytest.raises(InvalidKeyError):
                run(call)
        with pytest.raises(InvalidKeyError):
            run(store.delete(key, collection=collection))


def test_a_bulk_call_with_a_bad_name_changes_nothing(store: FusionKeyValueStore) -> None:
    run(store.put("good", {"n": 1}))
    with pytest.raises(InvalidKeyError):
        run(store.put_many(["good", "bad\ud800"], [{"n": 2}, {"n": 3}]))
    with pytest.raises(InvalidKeyError):
        run(store.delete_many(["good", "bad\ud800"]))
    assert run(store.get("good")) == {"n": 1}


def test_many_stores_share_the_threads_of_one_repository(vault: TokenRepository) -> None:
    repository = AsyncTokenRepository(vault)
    before = threading.active_count()

    async def use() -> None:
        stores = [FusionKeyValueStore(repository, default_collection=f"{number}") for number in range(100)]
        await asyncio.gather(*(store.put("key", {"a": 1}) for store in stores))
        assert threading.active_count() <= before + DEFAULT_THREADS

    run(use())


def test_names_and_value_together_have_64_kib(store: FusionKeyValueStore) -> None:
    overhead = len(
        json.dumps({"entry": json.dumps(["c", "k", {"a": ""}], separators=(",", ":"))}, separators=(",", ":"))
    )
    largest = {"a": "x" * (LIMIT - overhead)}
    run(store.put("k", largest, collection="c"))
    assert run(store.get("k", collection="c")) == largest

    over = {"a": largest["a"] + "x"}
    with pytest.raises(ValueTooLargeError, match=rf"size: {LIMIT + 1};max_size: {LIMIT}"):
        run(store.put("k", over, collection="c"))
    with pytest.raises(ValueTooLargeError):
        run(store.put_many(["other", "k"], [{"a": 1}, over], collection="c"))
    assert run(store.get_many(["k", "other"], collection="c")) == [largest, None]


def test_an_error_shows_neither_key_nor_value(store: FusionKeyValueStore) -> None:
    for key, value in (
        ("secret-key", {"a": "secret-value" * LIMIT}),
        ("secret-key\ud800", {"a": "secret-value"}),
        ("secret-key", {"a": {"secret-value"}}),
        ("secret-key", {"secret-value": "\ud800"}),
    ):
        with pytest.raises((InvalidKeyError, SerializationError, ValueTooLargeError)) as failure:
            run(store.put(key, value))
        assert "secret" not in f"{failure.value!r}{failure.value.__cause__!r}"
        assert failure.value.__cause__ is None
        assert failure.value.__suppress_context__ or failure.value.__context__ is None


def test_names_and_values_are_in_the_payload_alone(store: FusionKeyValueStore, vault: TokenRepository) -> None:
    run(store.put("secret-key", {"a": "secret-value"}, collection="secret-collection"))
    ((service, kind),) = vault.list_credentials(SYSTEM_TENANT)
    assert "secret" not in service
    assert service.startswith("key-value:")
    assert kind is CredentialType.CUSTOM


def test_tenants_share_nothing(vault: TokenRepository) -> None:
    ada, bob = vault.add_api_token(), vault.add_api_token()
    stores = [FusionKeyValueStore(vault, tenant_hash=tenant) for tenant in (SYSTEM_TENANT, ada.hash, bob.hash)]
    for number, store in enumerate(stores):
        run(store.put("key", {"n": number}))
    assert [run(store.get("key")) for store in stores] == [{"n": 0}, {"n": 1}, {"n": 2}]
    vault.delete_tenant(ada.hash)
    assert [run(store.get("key")) for store in stores] == [{"n": 0}, None, {"n": 2}]
    with pytest.raises(KeyValueStoreError, match="no such tenant"):
        run(stores[1].put("key", {"n": 3}))


def test_entries_are_there_after_reopening(contract_store: ContractStore) -> None:
    with contract_store.open() as vault:
        run(FusionKeyValueStore(vault).put("key", {"a": 1}))
    with contract_store.open() as vault:
        assert run(FusionKeyValueStore(vault).get("key")) == {"a": 1}


def test_many_calls_at_once(store: FusionKeyValueStore) -> None:
    async def worker(number: int) -> None:
        for turn in range(5):
            await store.put(f"{number}", {"turn": turn}, ttl=60)
            assert await store.get(f"{number}") == {"turn": turn}
        assert await store.delete(f"{number}")

    async def workers() -> None:
        await asyncio.gather(*(worker(number) for number in range(20)))

    run(workers())


def test_nothing_blocks_on_the_loop(contract_store: ContractStore) -> None:
    with contract_store.open() as vault:
        for repository in (vault, AsyncTokenRepository(vault)):
            store = FusionKeyValueStore(repository)

            async def use(store: FusionKeyValueStore) -> None:
                await store.put("a", {"n": 1}, ttl=60)
                await store.put_many(["b", "c"], [{"n": 2}, {"n": 3}])
                assert await store.get_many(["a", "b"]) == [{"n": 1}, {"n": 2}]
                assert (await store.ttl("c"))[0] == {"n": 3}
                assert await store.delete_many(["a", "b", "c"]) == 3

            with blockbuster_ctx():
                run(use(store))
