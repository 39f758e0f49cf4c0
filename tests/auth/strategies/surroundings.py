"""What a strategy is run with: injected time, a user who looks on, a tenant's credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from hypothesis import HealthCheck, settings

from fusion_store import CredentialType, ServiceCredentials
from fusion_store.auth import AuthContext, Prompt
from fusion_store.auth._http import HTTP
from fusion_store.testing import ManualClock

T = TypeVar("T")

patient: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For properties: a machine may be busy."""


class Surroundings:
    """Makes contexts; ``slept`` and ``prompts`` keep what happened."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.slept: list[float] = []
        self.prompts: list[Prompt] = []
        self.credentials: dict[CredentialType, ServiceCredentials] = {}

    def run(self, work: Callable[[AuthContext], Awaitable[T]], *, asks: bool = True, **options: float) -> T:
        """Run a coroutine function with a context; ``options`` are those of ``HTTP``."""

        async def main() -> T:
            async with HTTP(clock=self.clock, **options) as http:  # type: ignore[arg-type]
                return await work(self.context(http, asks=asks))

        return asyncio.run(main())

    def context(self, http: HTTP, *, asks: bool = True) -> AuthContext:
        return AuthContext("acme", http, self.clock, self._sleep, self._find, self._show if asks else None)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))

    async def _find(self, kind: CredentialType) -> ServiceCredentials | None:
        return self.credentials.get(kind)

    async def _show(self, prompt: Prompt) -> None:
        self.prompts.append(prompt)
