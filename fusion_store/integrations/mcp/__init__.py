"""MCP: the vault in terms of its Python SDK, for servers and for clients."""

from fusion_store.integrations._extras import missing

try:
    import mcp  # noqa: F401 - asked for first, so that the error names the extra
except ImportError as error:
    raise missing("mcp", "mcp") from error

from fusion_store.integrations.httpx2 import FusionAuth
from fusion_store.integrations.mcp._authorization_server import FusionAuthorizationServer, Lifetimes
from fusion_store.integrations.mcp._consent import ConsentRequest
from fusion_store.integrations.mcp._guard import FusionGuard
from fusion_store.integrations.mcp._storage import FusionTokenStorage
from fusion_store.integrations.mcp._verifier import FusionTokenVerifier

__all__ = [
    "ConsentRequest",
    "FusionAuth",
    "FusionAuthorizationServer",
    "FusionGuard",
    "FusionTokenStorage",
    "FusionTokenVerifier",
    "Lifetimes",
]
