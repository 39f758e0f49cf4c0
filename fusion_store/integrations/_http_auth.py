"""The flow of a request to a service: with the tenant's secret, and once more with another token after a 401."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from http import HTTPStatus
from typing import Any, Generic, Protocol, TypeVar

from fusion_store._errors import ConfigError
from fusion_store._values import OAuthTokenData
from fusion_store.auth import BlockingTenant, RefusedAgain, Secret, ServiceConfig, Tenant


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
        response = yield tenant.apply_secret(request, self._service, secret, self._config)
        version = self._refused_version(secret, request, response)
        if version is None:
            return
        try:
            secret = tenant.invalidate_token(self._service, version, self._config)
        except RefusedAgain:
            return
        yield tenant.apply_secret(request, self._service, secret, self._config)

    async def async_auth_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        tenant = self._tenant
        if not isinstance(tenant, Tenant):
            raise ConfigError("an AsyncClient needs a tenant of AuthManager; this one is for a Client")
        await request.aread()
        secret = await tenant.get_secret(self._service, self._config)
        response = yield tenant.apply_secret(request, self._service, secret, self._config)
        version = self._refused_version(secret, request, response)
        if version is None:
            return
        try:
            secret = await tenant.invalidate_token(self._service, version, self._config)
        except RefusedAgain:
            return
        yield tenant.apply_secret(request, self._service, secret, self._config)

    def _refused_version(self, secret: Secret, sent: _Request, response: _Response) -> int | None:
        """The version of the token that a 401 refuses: the request that it answers had the token in it.

        A redirect leads to another request. The client takes ``Authorization`` off for another host, and cookies
        always, and the service's ``Location`` holds no secret.
        """
        if response.status_code != HTTPStatus.UNAUTHORIZED or not isinstance(secret, OAuthTokenData):
            return None
        answered = response.request
        if answered is not sent:
            applied = self._tenant.apply_secret({}, self._service, secret, self._config)
            headers = applied.pop("headers", {}).items()
            is_whole = not applied and all(answered.headers.get(name) == value for name, value in headers)
            if not is_whole or answered.url.host != sent.url.host:
                return None
        return secret.version
