"""A vault with one tenant, a service with its provider, and hosts of both kinds that call the service."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

import fusion_store.integrations.httpx
import fusion_store.integrations.httpx2
from fusion_store import OAuthTokenData, TokenRepository, get_repository
from fusion_store.auth import AuthManager, BlockingAuthManager, BlockingTenant, ServiceConfig, Tenant
from tests.auth.provider import Provider, Reply, Request, running_provider

HOUR = timedelta(hours=1)
LIBRARIES = {
    "httpx": (httpx, fusion_store.integrations.httpx.FusionAuth),
    "httpx2": (httpx2, fusion_store.integrations.httpx2.FusionAuth),
}
Do = Callable[["Host"], Any]


class World:
    """``refused`` holds access tokens that the service at ``/api`` answers 401, whatever the provider holds of them."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.provider = provider
        self.vault: TokenRepository = get_repository(f"sqlite:///{folder}/vault.db")
        self.issued = self.vault.add_api_token()
        self.tenant_hash = self.issued.hash
        self.refused: set[str] = set()
        self.config = self.make_config("oauth2_external")
        provider.script("/api", [self._serve])

    def make_config(self, kind: str, **settings: Any) -> ServiceConfig:
        return ServiceConfig(type=kind, client_id="me", token_url=self.provider.url("/token"), **settings)

    def _serve(self, request: Request) -> Reply:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        is_good = self.provider.is_live(token) and token not in self.refused
        return Reply(200, body=request.body) if is_good else Reply(401)

    def store(self, life: timedelta = HOUR) -> OAuthTokenData:
        grant = self.provider.grant()
        token = OAuthTokenData(grant["access_token"], grant["refresh_token"], expires_at=datetime.now(UTC) + life)
        return self.vault.store_oauth_token(self.tenant_hash, "api", token)

    def stored(self) -> OAuthTokenData:
        token = self.vault.get_oauth_token(self.tenant_hash, "api")
        assert token is not None
        return token

    def served(self) -> list[str]:
        """The access tokens with which the service was asked, in order."""
        return [
            request.headers.get("authorization", "").removeprefix("Bearer ") for request in self.provider.asked("/api")
        ]


class Host(ABC):
    """A program that calls the service for the tenant, by one of the libraries."""

    def __init__(self, world: World, library: str) -> None:
        self.world = world
        self.library, self.auth_class = LIBRARIES[library]

    def auth(self, tenant: Tenant | BlockingTenant) -> Any:
        return self.auth_class(tenant, "api", self.world.config)

    def call(self, path: str = "/api", method: str = "GET", **request: Any) -> Any:
        """The answer to one request."""
        (answer,) = self.call_at_once(1, path, method, **request)
        return answer

    @abstractmethod
    def call_at_once(self, count: int, path: str = "/api", method: str = "GET", **request: Any) -> list[Any]:
        """The answers to so many requests sent at the same time."""

    @abstractmethod
    def call_one_by_one(self, count: int) -> list[Any]:
        """The answers to so many requests sent one after the other."""

    @abstractmethod
    def stream(self, *parts: bytes) -> Any:
        """A body of this kind of client that can be read once."""


class BlockingHost(Host):
    def call_at_once(self, count: int, path: str = "/api", method: str = "GET", **request: Any) -> list[Any]:
        from concurrent.futures import ThreadPoolExecutor

        url = self.world.provider.url(path)
        with BlockingAuthManager(self.world.vault) as manager, ThreadPoolExecutor(count) as threads:
            auth = self.auth(manager.tenant_of(self.world.tenant_hash))
            options = {"follow_redirects": True, "timeout": 30, **request.pop("client", {})}
            with self.library.Client(auth=auth, **options) as client:
                sent = [threads.submit(client.request, method, url, **request) for _ in range(count)]
                return [answer.result() for answer in sent]

    def call_one_by_one(self, count: int) -> list[Any]:
        url = self.world.provider.url("/api")
        with BlockingAuthManager(self.world.vault) as manager, self.library.Client() as client:
            auth = self.auth(manager.tenant_of(self.world.tenant_hash))
            return [client.get(url, auth=auth) for _ in range(count)]

    def stream(self, *parts: bytes) -> Any:
        yield from parts


class AsyncHost(Host):
    def call_at_once(self, count: int, path: str = "/api", method: str = "GET", **request: Any) -> list[Any]:
        url = self.world.provider.url(path)

        async def run() -> list[Any]:
            async with AuthManager(self.world.vault) as manager:
                auth = self.auth(manager.tenant_of(self.world.tenant_hash))
                options = {"follow_redirects": True, "timeout": 30, **request.pop("client", {})}
                async with self.library.AsyncClient(auth=auth, **options) as client:
                    return await asyncio.gather(*(client.request(method, url, **request) for _ in range(count)))

        return asyncio.run(run())

    def call_one_by_one(self, count: int) -> list[Any]:
        url = self.world.provider.url("/api")

        async def run() -> list[Any]:
            async with AuthManager(self.world.vault) as manager, self.library.AsyncClient() as client:
                auth = self.auth(manager.tenant_of(self.world.tenant_hash))
                return [await client.get(url, auth=auth) for _ in range(count)]

        return asyncio.run(run())

    async def stream(self, *parts: bytes) -> Any:
        for part in parts:
            yield part


HOSTS: dict[str, type[Host]] = {"sync": BlockingHost, "async": AsyncHost}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, provider: Provider) -> Iterator[World]:
    made = World(tmp_path, provider)
    with made.vault:
        yield made


@pytest.fixture(params=[f"{library}-{kind}" for library in LIBRARIES for kind in HOSTS])
def host(request: pytest.FixtureRequest, world: World) -> Host:
    """One of the libraries in one kind of host, each test running with all four."""
    library, _, kind = request.param.partition("-")
    return HOSTS[kind](world, library)
