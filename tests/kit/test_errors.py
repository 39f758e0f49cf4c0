from __future__ import annotations

import inspect
import pickle

import pytest

import fusion_store
from fusion_store import (
    AmbiguousIdentifier,
    ClaimLost,
    CorruptRecord,
    ForkedHandle,
    FusionStoreError,
    InvalidInput,
    NeedsReauth,
    RefreshFailed,
    StorageFull,
    StoreClosed,
    StoreError,
    TenantNotFound,
    TokenNotFound,
    VersionConflict,
    WrongKey,
)

TREE = {
    "FusionStoreError": "Exception",
    "ConfigError": "FusionStoreError",
    "InvalidInput": "FusionStoreError",
    "NotFound": "FusionStoreError",
    "TenantNotFound": "NotFound",
    "TokenNotFound": "NotFound",
    "Conflict": "FusionStoreError",
    "AlreadyExists": "Conflict",
    "VersionConflict": "Conflict",
    "ClaimLost": "Conflict",
    "AmbiguousIdentifier": "Conflict",
    "StoreError": "FusionStoreError",
    "StoreLocked": "StoreError",
    "StoreClosed": "StoreError",
    "StoreNotFound": "StoreError",
    "StorageFull": "StoreError",
    "StorageIO": "StoreError",
    "ReadOnly": "StoreError",
    "PermissionDenied": "StoreError",
    "Busy": "StoreError",
    "Unavailable": "StoreError",
    "OutcomeUnknown": "StoreError",
    "SchemaOutOfDate": "StoreError",
    "SchemaTooNew": "StoreError",
    "CorruptStore": "StoreError",
    "CorruptRecord": "StoreError",
    "ForkedHandle": "StoreError",
    "EncryptionError": "FusionStoreError",
    "WrongKey": "EncryptionError",
    "NotEncrypted": "EncryptionError",
    "Tampered": "EncryptionError",
    "AuthError": "FusionStoreError",
    "NeedsReauth": "AuthError",
    "RefreshFailed": "AuthError",
    "RefreshTimeout": "AuthError",
}


def public_errors() -> dict[str, type[BaseException]]:
    return {
        name: value
        for name in fusion_store.__all__
        if inspect.isclass(value := getattr(fusion_store, name)) and issubclass(value, BaseException)
    }


def test_the_tree_of_errors_is_the_designs() -> None:
    assert {name: error.__bases__[0].__name__ for name, error in public_errors().items()} == TREE


def test_only_errors_that_changed_nothing_may_be_retried() -> None:
    stores = {name: error for name, error in public_errors().items() if issubclass(error, StoreError)}

    retryable = {name for name, error in stores.items() if error.retryable}
    assert retryable == {"StoreLocked", "StorageFull", "Busy", "Unavailable"}


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("service", "is too long"),
        TenantNotFound(),
        TokenNotFound(),
        VersionConflict(),
        ClaimLost(),
        AmbiguousIdentifier("2 API tokens match", ("a" * 64, "b" * 64)),
        StoreClosed(),
        ForkedHandle(),
        StorageFull("no room"),
        CorruptRecord("oauth", tenant_hash="a" * 64, service="github", reason="unreadable"),
        CorruptRecord("mark"),
        WrongKey("no key opens this", "k1"),
        RefreshFailed("try later", retryable=True),
        NeedsReauth("consent again"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error: FusionStoreError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.args == error.args
    assert copy.__dict__ == error.__dict__


def test_errors_say_what_they_are_about() -> None:
    assert InvalidInput("service", "is too long").field == "service"
    assert AmbiguousIdentifier("", ("a", "b")).candidates == ("a", "b")
    corrupt = CorruptRecord("oauth", tenant_hash="a" * 64, service="github")
    assert (corrupt.kind, corrupt.tenant_hash, corrupt.service) == ("oauth", "a" * 64, "github")
    assert all(part in str(corrupt) for part in ("oauth", "a" * 16, "github"))
    assert WrongKey("no", "k1").key_id == "k1"
    assert RefreshFailed("no").retryable is False
