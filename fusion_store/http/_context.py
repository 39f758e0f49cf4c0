"""The caller of the request being handled."""

from __future__ import annotations

from contextvars import ContextVar

from fusion_store._values import APITokenMetadata

TENANT: ContextVar[APITokenMetadata | None] = ContextVar("fusion_store.tenant", default=None)


def current_tenant() -> APITokenMetadata | None:
    """The API token of whoever called; None for nobody, and outside a request."""
    return TENANT.get()
