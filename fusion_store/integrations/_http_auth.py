"""The flow of a request to a service: with the tenant's secret, and once more with another token after a 401."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from http import HTTPStatus
from typing import Any, Generic, Protocol, TypeVar

from fusion_store._errors import ConfigError
from fusion_store._values import OAuthTokenData
from fusion_store.auth import BlockingTenant, Secret, ServiceConfig, Tenant


class _URL(Protocol):
    @property
    def scheme(self) -> str: ...

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int | None: ...


class _Request(Protocol):
    @property
    def url(self) -> Any: ...

    def read(self) -> bytes: ...

    async def aread(self) -> bytes: ...


class _Response(Protocol):
    status_code: int

    @property
    def request(self) -> Any: ...


Request = TypeVar("Request", bound=_Request)
Response = TypeVar("Response", bound=_Response)


class AuthFlow(Generic[Request, Response]):
    """What httpx and httpx2 have in common: each one's ``FusionAuth`` is this and its ``Auth``."""

    requires_request_body = True

    def __init__(self, tenant: Tenant | BlockingTenant, service: str, config: ServiceConfig | None = None) -> None:
        if not isinstance(tenant, Tenant | BlockingTenant):
            raise ConfigError("the tenant must be a handle of AuthManager or BlockingAuthManager")
        self._tenant = tenant
        self._service = service
        self._config = config

    def __repr__(self) -> str:
        return f"FusionAuth({self._tenant!r}, {self._service!r})"

    def sync_auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        tenant = self._tenant
        if not isinstance(tenant, BlockingTenant):
            raise ConfigError("a Client needs a tenant of BlockingAuthManager; this one is for an AsyncClient")
        request.read()
        secret = tenant.get_secret(self._service, self._config)
        sent_to = _origin(request.url)
        response = yield tenant.apply_secret(request, self._service, secret, self._config)
        version = _refused_version(response, secret, sent_to)
        if version is not None:
            secret = tenant.invalidate_token(self._service, version, self._config)
            yield tenant.apply_secret(request, self._service, secret, self._config)

    async def async_auth_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        tenant = self._tenant
        if not isinstance(tenant, Tenant):
            raise ConfigError("an AsyncClient needs a tenant of AuthManager; this one is for a Client")
        await request.aread()
        secret = await tenant.get_secret(self._service, self._config)
        sent_to = _origin(request.url)
        response = yield tenant.apply_secret(request, self._service, secret, self._config)
        version = _refused_version(response, secret, sent_to)
        if version is not None:
            secret = await tenant.invalidate_token(self._service, version, self._config)
            yield tenant.apply_secret(request, self._service, secret, self._config)


def _refused_version(response: _Response, secret: Secret, sent_to: tuple[str, str, int | None]) -> int | None:
    """The version of the token that was refused. Another server, to which a redirect led, hasn't seen it."""
    refused = response.status_code == HTTPStatus.UNAUTHORIZED and _origin(response.request.url) == sent_to
    return secret.version if refused and isinstance(secret, OAuthTokenData) else None


def _origin(url: _URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
