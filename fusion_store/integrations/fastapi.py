"""FastAPI: the caller as a dependency, and in OpenAPI.

The application needs ``BearerAuthMiddleware`` around it, which authenticates; the dependencies hand on what it
found, and declare the security scheme ``BearerAuth`` (``http``, ``bearer``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fusion_store._values import APITokenMetadata
from fusion_store.http._asgi import CHALLENGE_KEY, DENIAL_EXTENSION
from fusion_store.http._bearer import MISSING, Challenge, Refusal, checked_scopes, insufficient_scope
from fusion_store.integrations._extras import missing

try:
    from fastapi import HTTPException, Security, WebSocketException
    from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
    from fastapi.security.base import SecurityBase
    from starlette.requests import HTTPConnection
except ImportError as error:
    raise missing("fastapi", "fastapi") from error

__all__ = ["CurrentTenant", "require_scopes"]


class _BearerAuth(SecurityBase):
    def __init__(self) -> None:
        self.model = HTTPBearerModel(description="An API token (RFC 6750)")
        self.scheme_name = "BearerAuth"

    async def __call__(self, connection: HTTPConnection) -> APITokenMetadata:
        tenant: APITokenMetadata | None = getattr(connection.state, "tenant", None)
        if tenant is None:
            raise _refused(MISSING, connection)
        return tenant


_SCHEME = _BearerAuth()

CurrentTenant = Annotated[APITokenMetadata, Security(_SCHEME)]
"""The caller's API token. Nobody is answered 401, with the middleware's challenge."""


def require_scopes(*scopes: str) -> Callable[..., Awaitable[APITokenMetadata]]:
    """A dependency that answers the caller's API token where it has all of ``scopes``, and 403 where it lacks one.

    ``Annotated[APITokenMetadata, Depends(require_scopes("write"))]``, or ``dependencies=[…]`` of a route. In
    OpenAPI the scopes stand at the operation. ``ConfigError`` for what isn't a scope token (RFC 6749 section 3.3).
    """
    needed = checked_scopes(scopes)

    caller = Security(_SCHEME, scopes=needed)

    async def granted(connection: HTTPConnection, tenant: APITokenMetadata = caller) -> APITokenMetadata:
        if not set(needed) <= set(tenant.scopes):
            raise _refused(insufficient_scope(needed), connection)
        return tenant

    return granted


def _refused(refusal: Refusal, connection: HTTPConnection) -> Exception:
    challenge: Challenge | None = connection.scope.get(CHALLENGE_KEY)
    if challenge is None:
        return RuntimeError("BearerAuthMiddleware isn't around this application")
    if connection.scope["type"] == "websocket" and DENIAL_EXTENSION not in (connection.scope.get("extensions") or {}):
        return WebSocketException(1008, refusal.description)
    detail = refusal.description or "Not authenticated"
    return HTTPException(refusal.status, detail, headers=challenge.headers(refusal))
