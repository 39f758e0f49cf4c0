"""What fails in the vault is an error of py-key-value, with the vault's own as its cause."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from key_value.aio.errors import (
    DeserializationError,
    EncryptionError,
    KeyValueStoreError,
    StoreConnectionError,
)

from fusion_store import (
    SYSTEM_TENANT,
    ConfigError,
    CredentialType,
    ServiceCredentials,
    StoreClosed,
    TenantNotFound,
    WrongKey,
    get_repository,
)
from fusion_store.http._asgi import Receive, Scope, Send
from fusion_store.integrations.key_value import FusionKeyValueStore
from fusion_store.integrations.mcp import FusionGuard
from fusion_store.layers import Key, Keyring
from tests.http.servers import call


def test_a_url_in_the_place_of_a_repository_is_refused_at_once() -> None:
    url: Any = "sqlite:///vault.db"
    with pytest.raises(ConfigError, match="get_repository"):
        FusionKeyValueStore(url)


def calls(store: FusionKeyValueStore) -> list[Any]:
    return [
        lambda: store.get("key"),
        lambda: store.get_many(["key"]),
        lambda: store.ttl("key"),
        lambda: store.ttl_many(["key"]),
        lambda: store.put("key", {"a": 1}),
        lambda: store.put_many(["key"], [{"a": 1}]),
        lambda: store.delete("key"),
        lambda: store.delete_many(["key"]),
    ]


def test_a_store_that_cannot_answer() -> None:
    with get_repository("memory://") as vault:
        store = FusionKeyValueStore(vault)
    for use in calls(store):
        with pytest.raises(StoreConnectionError, match="StoreClosed") as failure:
            asyncio.run(use())
        assert isinstance(failure.value.__cause__, StoreClosed)


def test_a_key_that_does_not_fit(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vault.db"
    with get_repository(url, encryption_keys=Keyring([Key.generate()])) as vault:
        asyncio.run(FusionKeyValueStore(vault).put("key", {"a": 1}))
    with get_repository(url) as vault:
        store = FusionKeyValueStore(vault)
        for use in calls(store)[:6]:
            with pytest.raises(EncryptionError, match="WrongKey") as failure:
                asyncio.run(use())
            assert isinstance(failure.value.__cause__, WrongKey)
        assert asyncio.run(store.delete("key"))


@pytest.mark.parametrize("tenant_hash", ["f" * 64, "no hash", ""])
def test_a_tenant_that_is_not_there(tenant_hash: str) -> None:
    with get_repository("memory://") as vault:
        store = FusionKeyValueStore(vault, tenant_hash=tenant_hash)
        assert asyncio.run(store.get("key")) is None
        with pytest.raises(KeyValueStoreError, match="TenantNotFound") as failure:
            asyncio.run(store.put("key", {"a": 1}))
        assert isinstance(failure.value.__cause__, TenantNotFound)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"entry": 1},
        {"entry": "["},
        {"entry": "[" * 5000},
        {"entry": '["default_collection","other",{}]'},
        {"entry": '["default_collection","key",[]]'},
        {"entry": '["default_collection","key"]'},
        {"entry": "{}"},
        {"entry": "[]"},
    ],
    ids=str,
)
def test_a_record_of_somebody_else(data: dict[str, Any]) -> None:
    with get_repository("memory://") as vault:
        store = FusionKeyValueStore(vault)
        asyncio.run(store.put("key", {"a": 1}))
        ((service, _),) = vault.list_credentials(SYSTEM_TENANT)
        vault.store_credentials(SYSTEM_TENANT, service, ServiceCredentials(CredentialType.CUSTOM, data))
        with pytest.raises(DeserializationError):
            asyncio.run(store.get("key"))
        asyncio.run(store.put("key", {"a": 2}))
        assert asyncio.run(store.get("key")) == {"a": 2}


def test_a_record_that_was_damaged(tmp_path: Path) -> None:
    import sqlite3

    with get_repository(f"sqlite:///{tmp_path}/vault.db") as vault:
        store = FusionKeyValueStore(vault)
        asyncio.run(store.put("key", {"a": 1}))
        with sqlite3.connect(tmp_path / "vault.db") as connection:
            connection.execute("UPDATE service_credentials SET payload = x'00'")
        connection.close()
        with pytest.raises(DeserializationError, match="corrupt"):
            asyncio.run(store.get("key"))


def test_a_guard_makes_503_of_what_an_application_swallows() -> None:
    with get_repository("memory://") as vault:
        store = FusionKeyValueStore(vault)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await store.get("session")
        except Exception:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    status, headers = asyncio.run(call(FusionGuard(app)))
    assert status == 503
    assert int(headers["retry-after"]) > 0


def test_a_tenant_that_is_gone_is_no_failure_of_the_store() -> None:
    with get_repository("memory://") as vault:
        store = FusionKeyValueStore(vault, tenant_hash="f" * 64)

        async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
            with pytest.raises(KeyValueStoreError):
                await store.put("key", {"a": 1})
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        assert asyncio.run(call(FusionGuard(swallow)))[0] == 401
