from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from fusion_store import OAuthTokenData, get_repository
from fusion_store.auth import AuthContext, AuthManager, RequestAuth, Secret, Strategy, Tenant
from fusion_store.auth._config import ServiceConfig
from fusion_store.layers import Observer
from fusion_store.testing import ManualClock

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
CONFIG = ServiceConfig(type="scripted")
"""What the tests' own strategy is called by."""


T = TypeVar("T")


class Scripted(Strategy):
    """Answers refreshes as a test says, as many strategies of other packages might."""

    type = "scripted"
    supports_refresh: ClassVar[bool] = True

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.answers: list[OAuthTokenData | Exception | Callable[[], Any]] = []
        self.refreshed: list[OAuthTokenData] = []
        self.authenticated = 0
        self.revoked: list[OAuthTokenData] = []
        self.revocation: bool | Exception = True

    def _check(self, config: ServiceConfig, context: AuthContext) -> None:
        assert config.type == self.type
        assert context.clock is self.clock

    def new_token(self) -> OAuthTokenData:
        number = len(self.refreshed) + self.authenticated
        return OAuthTokenData(f"access {number}", f"refresh {number}", expires_at=self.clock.now + HOUR)

    async def _answer(self) -> OAuthTokenData:
        answer = self.answers.pop(0) if self.answers else self.new_token()
        if callable(answer):
            answer = answer()
            if asyncio.iscoroutine(answer):
                answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
        self._check(config, context)
        self.authenticated += 1
        return await self._answer()

    async def refresh(self, config: ServiceConfig, token: OAuthTokenData, context: AuthContext) -> OAuthTokenData:
        self._check(config, context)
        self.refreshed.append(token)
        return await self._answer()

    async def revoke(self, config: ServiceConfig, token: OAuthTokenData, context: AuthContext) -> bool:
        self._check(config, context)
        self.revoked.append(token)
        if isinstance(self.revocation, Exception):
            raise self.revocation
        return self.revocation

    def apply(self, config: ServiceConfig, secret: Secret) -> RequestAuth:
        assert isinstance(secret, OAuthTokenData)
        return RequestAuth(
            {"Authorization": f"Bearer {secret.access_token}"}, {"key": secret.access_token}, {"session": "cookie"}
        )


class World:
    """A vault with one tenant, the provider, and the time."""

    def __init__(self, folder: Path) -> None:
        self.observers = list[Observer]()
        self.clock = ManualClock()
        self.waits: list[float] = []
        self.strategy = Scripted(self.clock)
        self.repository = get_repository(f"sqlite:///{folder}/vault.db", clock=self.clock)
        self.issued = self.repository.add_api_token()

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))
        # Long enough for another thread's answer to arrive.
        await asyncio.sleep(0.005)

    @property
    def tenant_id(self) -> str:
        """What logs call the tenant."""
        return self.issued.metadata.tenant_id

    def make_manager(self) -> AuthManager:
        """A manager whose waiting moves the clock; many stand for as many processes."""
        return AuthManager(
            self.repository,
            {"scripted": self.strategy},
            clock=self.clock,
            sleep=self._sleep,
            observers=self.observers,
        )

    def store(self, life: timedelta, **fields: Any) -> OAuthTokenData:
        """A stored token that lives that much longer."""
        token = OAuthTokenData("old", "old refresh", expires_at=self.clock.now + life, **fields)
        return self.repository.store_oauth_token(self.issued.hash, "github", token)

    def call(self, work: Callable[[Tenant], Awaitable[T]]) -> T:
        """What one caller does with a manager of its own."""

        async def run() -> T:
            async with self.make_manager() as manager:
                return await work(await manager.tenant(self.issued.token))

        return asyncio.run(run())

    def get(self) -> OAuthTokenData:
        return self.call(lambda tenant: tenant.get_token("github", CONFIG))

    def invalidate(self, version: int) -> OAuthTokenData:
        return self.call(lambda tenant: tenant.invalidate_token("github", version, CONFIG))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.repository:
        yield made
