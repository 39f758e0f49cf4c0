"""What the tests of moving a vault fill it with, and how they look at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from fusion_store import SYSTEM_TENANT, CredentialType, OAuthTokenData, ServiceCredentials, TokenRepository
from fusion_store._registry import find_backend
from fusion_store.backend import Kind, OpenOptions, Place, RecordRepository, SecretRecord

HOUR = timedelta(hours=1)
SECRET = "s3cret-canary"


def furnish(vault: TokenRepository, tenants: int = 3) -> list[str]:
    """Tenants, and the system tenant, with some of everything; answers the tenants' hashes."""
    later = datetime.now(UTC) + HOUR
    hashes = []
    for number in range(tenants):
        issued = vault.add_api_token(f"é😀 {number}", scopes=["a", "b"], expires_at=later if number % 2 else None)
        hashes.append(issued.hash)
        vault.validate_api_token(issued.token)
    if hashes:
        vault.add_api_token("second", tenant_hash=hashes[0])
    for tenant in (*hashes, SYSTEM_TENANT):
        vault.store_oauth_token(tenant, "github", OAuthTokenData("first"))
        vault.store_oauth_token(tenant, "github", OAuthTokenData(SECRET, SECRET, expires_at=later, scope=("x",)))
        vault.store_oauth_token(tenant, "é/😀", OAuthTokenData(SECRET))
        vault.delete_oauth_token(tenant, "é/😀")
        vault.store_credentials(
            tenant, "github", ServiceCredentials(CredentialType.BASIC_AUTH, {"key": SECRET, "n": [1]}, later)
        )
        vault.claim_refresh(tenant, "slack", ttl=HOUR)
        vault.create_auth_code(tenant, "login", ttl=HOUR, payload={"to": SECRET})
    vault.flush()
    return hashes


@contextmanager
def storage(url: str, *, create: bool = True) -> Iterator[RecordRepository]:
    """The store at a URL, without layers."""
    backend, parsed = find_backend(url)
    with backend.open(parsed, OpenOptions(create=create)) as repository:
        yield repository


def contents(repository: TokenRepository) -> list[bytes]:
    """All records, in an order that doesn't depend on the backend."""
    return sorted(map(msgspec.json.encode, repository.export_records()))


def secret(storage: RecordRepository, tenant: str, service: str = "github") -> SecretRecord:
    """The OAuth token there, as it is stored."""
    record = storage.read_secret(Place(tenant, Kind.OAUTH, service))
    assert record is not None
    return record
