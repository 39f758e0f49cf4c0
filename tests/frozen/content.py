"""What every frozen store holds, and the digest of what a store holds."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from fusion_store import CredentialType, OAuthTokenData, ServiceCredentials, TokenRepository
from fusion_store.testing import ManualClock
from fusion_store.testing.contract._making import exported

STORES: Final = Path(__file__).parent / "stores"
KEY: Final = "ZnVzaW9uLXN0b3JlIGZyb3plbiB0ZXN0IGtleSAwMDE="
MODES: Final[dict[str, dict[str, Any]]] = {"plain": {}, "sealed": {"encryption_keys": [KEY]}}
"""How the stores were opened that were frozen."""

YEARS: Final = timedelta(days=10_000)


def fill(repository: TokenRepository, clock: ManualClock) -> None:
    """Some of everything."""
    for number in range(3):
        tenant = repository.add_api_token(f"token {number} ü é", scopes=("read", "write")[:number]).hash
        clock.advance(timedelta(seconds=1, microseconds=1))
        expiring = repository.add_api_token("expires", tenant_hash=tenant, expires_at=clock.now + YEARS)
        repository.validate_api_token(expiring.token)
        token = OAuthTokenData(
            f"access {number}", "refresh", expires_at=clock.now + YEARS, scope=("a", "b"), metadata={"k": "v"}
        )
        repository.store_oauth_token(tenant, "github", token)
        repository.store_oauth_token(tenant, "github", token)
        repository.store_oauth_token(tenant, "gone", OAuthTokenData("access"))
        repository.delete_oauth_token(tenant, "gone")
        for kind in CredentialType:
            credentials = ServiceCredentials(kind, {"value": [number, None, {"x": "y"}]})
            repository.store_credentials(tenant, "Mail ü", credentials)
        repository.create_auth_code(tenant, "github", ttl=YEARS, payload={"n": number})
    repository.flush()


def digest(repository: TokenRepository) -> str:
    """SHA-256 over all records, whatever their order."""
    return sha256(msgspec.msgpack.encode(exported(repository))).hexdigest()
