"""Authlib and requests-oauthlib: access tokens for their sessions, with nothing that they could refresh."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, overload

from fusion_store._errors import ConfigError
from fusion_store._values import OAuthTokenData
from fusion_store.auth import BlockingTenant, ServiceConfig, Tenant

__all__ = ["token_getter"]


@overload
def token_getter(
    tenant: BlockingTenant, service: str, config: ServiceConfig | None = None
) -> Callable[..., dict[str, str]]: ...


@overload
def token_getter(
    tenant: Tenant, service: str, config: ServiceConfig | None = None
) -> Callable[..., Awaitable[dict[str, str]]]: ...


def token_getter(tenant: Tenant | BlockingTenant, service: str, config: ServiceConfig | None = None) -> Any:
    """What answers the tenant's token as these libraries want it: ``{"access_token": …, "token_type": …}``.

    It holds neither refresh token nor expiry, so no session refreshes it: that would spend the refresh token behind the
    vault's back. Ask again instead: each call answers a token with life left, and raises what ``Tenant.get_token``
    does. A ``Tenant``'s getter is to be awaited. Arguments of the call, which Authlib's registries give, are ignored.
    """
    if isinstance(tenant, BlockingTenant):

        def get(*_: object) -> dict[str, str]:
            return _access_only(tenant.get_token(service, config))

        return get
    if not isinstance(tenant, Tenant):
        raise ConfigError("the tenant must be a handle of AuthManager or BlockingAuthManager")

    async def get_async(*_: object) -> dict[str, str]:
        return _access_only(await tenant.get_token(service, config))

    return get_async


def _access_only(token: OAuthTokenData) -> dict[str, str]:
    return {"access_token": token.access_token, "token_type": token.token_type}
