"""Bearer authentication (RFC 6750) for web applications: a request's API token opens its tenant."""

from fusion_store.http._asgi import BearerAuthMiddleware
from fusion_store.http._context import current_tenant
from fusion_store.http._gate import Options, SingleTenant
from fusion_store.http._limits import RateLimit
from fusion_store.http._wsgi import BearerAuthWSGI

__all__ = [
    "BearerAuthMiddleware",
    "BearerAuthWSGI",
    "Options",
    "RateLimit",
    "SingleTenant",
    "current_tenant",
]
