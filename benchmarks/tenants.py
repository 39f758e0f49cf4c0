"""The tenants that stores are filled with: each has an API token, an OAuth token of 1.5 KB and its counters.

All about a tenant follows from its number, so that a store can be filled in pieces and used again.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import Final

from fusion_store import OAuthTokenData
from fusion_store.backend import APITokenRecord, CounterRecord, Kind, Place, Record, SecretRecord, TenantRecord
from fusion_store.backend._payloads import pack_oauth

SERVICE: Final = "github"
_FIRST_CREATED: Final = 1_750_000_000_000_000
_BETWEEN: Final = 1000


def api_token(number: int) -> str:
    """The API token of a tenant."""
    return sha256(f"token {number}".encode()).hexdigest()


def tenant_hash(number: int) -> str:
    """Its hash, which is the tenant's too."""
    return sha256(api_token(number).encode()).hexdigest()


def created_at(number: int) -> int:
    """When the tenant was made: one every millisecond."""
    return _FIRST_CREATED + number * _BETWEEN


def place(number: int) -> Place:
    """Where the tenant's OAuth token lies."""
    return Place(tenant_hash(number), Kind.OAUTH, SERVICE)


def oauth_token(number: int) -> OAuthTokenData:
    """The tenant's OAuth token, whose texts no compression makes smaller."""
    random = Random(number)  # noqa: S311
    access, refresh = (base64.urlsafe_b64encode(random.randbytes(size)).decode() for size in (750, 300))
    return OAuthTokenData(access, refresh, scope=("read", "write"), metadata={"account": f"account {number}"})


def records(tenants: int) -> Iterator[Record]:
    """All records, tenant by tenant in the order of their hashes."""
    order = sorted((bytes.fromhex(tenant_hash(number)), number) for number in range(tenants))
    for digest, number in order:
        yield from _records_of(digest.hex(), number)


def _records_of(hash: str, number: int) -> Iterator[Record]:
    made_at, place = created_at(number), Place(hash, Kind.OAUTH, SERVICE)
    prefix = api_token(number)[:8]
    yield TenantRecord(hash, made_at)
    yield APITokenRecord(hash, prefix, hash, f"tenant {number}", ("read",), made_at, None, None)
    yield SecretRecord(place, pack_oauth(place.binding(None), oauth_token(number)), None, made_at, made_at, 1)
    yield CounterRecord(place, 1, 1)
