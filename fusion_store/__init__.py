"""fusion-store: an embeddable, multi-tenant vault for tokens.

>>> from fusion_store import OAuthTokenData, get_repository
>>> with get_repository("memory://") as vault:
...     issued = vault.add_api_token("my laptop")
...     tenant = vault.validate_api_token(issued.token).tenant_hash
...     stored = vault.store_oauth_token(tenant, "github", OAuthTokenData("gho_secret"))
...     vault.get_oauth_token(tenant, "github").access_token
'gho_secret'
"""

from typing import TYPE_CHECKING, Any

from fusion_store._audit import AuditRecord, acting_as
from fusion_store._errors import (
    AlreadyExists,
    AmbiguousIdentifier,
    AuthError,
    Busy,
    ClaimLost,
    ConfigError,
    Conflict,
    CorruptRecord,
    CorruptStore,
    EncryptionError,
    ForkedHandle,
    FusionStoreError,
    InvalidInput,
    NeedsReauth,
    NotEncrypted,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    ReadOnly,
    RefreshFailed,
    RefreshTimeout,
    SchemaOutOfDate,
    SchemaTooNew,
    StorageFull,
    StorageIO,
    StoreClosed,
    StoreError,
    StoreLocked,
    StoreNotFound,
    Tampered,
    TenantNotFound,
    TokenNotFound,
    Unavailable,
    VersionConflict,
    WrongKey,
)
from fusion_store._interface import TokenRepository
from fusion_store._registry import get_repository
from fusion_store._urls import redact_url
from fusion_store._values import (
    SYSTEM_TENANT,
    APITokenMetadata,
    AuthCode,
    CheckReport,
    CorruptPlace,
    CredentialType,
    Health,
    IssuedToken,
    OAuthTokenData,
    RefreshClaim,
    ServiceCredentials,
    StoreStats,
    TenantInfo,
)
from fusion_store._version import __version__

if TYPE_CHECKING:
    from fusion_store._async import AsyncTokenRepository

__all__ = [
    "SYSTEM_TENANT",
    "APITokenMetadata",
    "AlreadyExists",
    "AmbiguousIdentifier",
    "AsyncTokenRepository",
    "AuditRecord",
    "AuthCode",
    "AuthError",
    "Busy",
    "CheckReport",
    "ClaimLost",
    "ConfigError",
    "Conflict",
    "CorruptPlace",
    "CorruptRecord",
    "CorruptStore",
    "CredentialType",
    "EncryptionError",
    "ForkedHandle",
    "FusionStoreError",
    "Health",
    "InvalidInput",
    "IssuedToken",
    "NeedsReauth",
    "NotEncrypted",
    "NotFound",
    "OAuthTokenData",
    "OutcomeUnknown",
    "PermissionDenied",
    "ReadOnly",
    "RefreshClaim",
    "RefreshFailed",
    "RefreshTimeout",
    "SchemaOutOfDate",
    "SchemaTooNew",
    "ServiceCredentials",
    "StorageFull",
    "StorageIO",
    "StoreClosed",
    "StoreError",
    "StoreLocked",
    "StoreNotFound",
    "StoreStats",
    "Tampered",
    "TenantInfo",
    "TenantNotFound",
    "TokenNotFound",
    "TokenRepository",
    "Unavailable",
    "VersionConflict",
    "WrongKey",
    "__version__",
    "acting_as",
    "get_repository",
    "redact_url",
]


def __getattr__(name: str) -> Any:
    # asyncio takes longer to import than all the rest, and half of the hosts don't use it.
    if name == "AsyncTokenRepository":
        from fusion_store._async import AsyncTokenRepository

        return AsyncTokenRepository
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
