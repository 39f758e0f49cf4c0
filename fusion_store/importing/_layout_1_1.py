"""The layout that MCPFusion ships with, schema 1.1: API tokens, tenants and users stand beside each other.

``api_tokens/{hash}``, ``tenants/{hash}/oauth_tokens/{service}``, ``tenants/{hash}/service_credentials/{service}``,
``users/{id}/…``, ``key_to_user/{hash}``. Deleting an API token leaves what its tenant holds. ``token_index`` repeats
the API tokens, ``system`` holds the schema's version.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from fusion_store.importing._bolt import Bucket
from fusion_store.importing._contents import Contents, Holding

_ROOT: Final = {b"api_tokens", b"tenants", b"users", b"key_to_user", b"auth_codes", b"token_index", b"system"}
_TENANT: Final = {b"metadata", b"oauth_tokens", b"service_credentials"}


def read_layout(root: Bucket) -> Contents:
    """The contents of a file in this layout."""
    left_out = Counter({"unknown entries": len(root.keys() - _ROOT), "auth codes": len(root.bucket(b"auth_codes"))})
    holdings = defaultdict[bytes, Holding](Holding)
    for hash, metadata in root.bucket(b"api_tokens").items():
        holdings[hash].metadata = metadata
    tenants = root.bucket(b"tenants")
    for hash in tenants:
        tenant = tenants.bucket(hash)
        left_out["tenant descriptions"] += b"metadata" in tenant
        left_out["unknown entries"] += len(tenant.keys() - _TENANT)
        holdings[hash].oauth_tokens = tenant.bucket(b"oauth_tokens")
        holdings[hash].credentials = tenant.bucket(b"service_credentials")
    return Contents("MCPFusion, as shipped (schema 1.1)", dict(holdings), _users(root, left_out), left_out)


def _users(root: Bucket, left_out: Counter[str]) -> dict[bytes, bytes]:
    """The user of each API token that has one."""
    users = root.bucket(b"users")
    left_out["user descriptions"] += len(users)
    for user in users:
        domains = users.bucket(user).bucket(b"knowledge")
        left_out["knowledge entries"] += sum(len(entries) for entries in domains.values())
    keys = root.bucket(b"key_to_user").items()
    return {hash: user for hash, user in keys if isinstance(user, bytes) and user in users}
