"""Upstream tokens for a host's tenants: first consent, refresh, use, revocation.

Needs the extra ``fusion-store[auth]``.
"""

from fusion_store.auth._blocking import BlockingAuthManager, BlockingTenant, BlockingTenantCache
from fusion_store.auth._cache import TenantCache
from fusion_store.auth._config import ServiceConfig
from fusion_store.auth._external import push_token
from fusion_store.auth._http import HTTP
from fusion_store.auth._manager import AuthManager, Disconnected, Tenant
from fusion_store.auth._renewal import REJECTED, RefusedAgain, Timing
from fusion_store.auth._services_file import load_services
from fusion_store.auth._strategies import find_strategies
from fusion_store.auth._strategy import (
    AuthContext,
    BrowserPrompt,
    DevicePrompt,
    GrantRejected,
    Prompt,
    RequestAuth,
    Secret,
    ShowPrompt,
    Strategy,
)

__all__ = [
    "HTTP",
    "REJECTED",
    "AuthContext",
    "AuthManager",
    "BlockingAuthManager",
    "BlockingTenant",
    "BlockingTenantCache",
    "BrowserPrompt",
    "DevicePrompt",
    "Disconnected",
    "GrantRejected",
    "Prompt",
    "RefusedAgain",
    "RequestAuth",
    "Secret",
    "ServiceConfig",
    "ShowPrompt",
    "Strategy",
    "Tenant",
    "TenantCache",
    "Timing",
    "find_strategies",
    "load_services",
    "push_token",
]
