"""One sign-in at a time for a tenant and service, shared by all who ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

from fusion_store._values import OAuthTokenData
from fusion_store.auth._renewal import Target
from fusion_store.auth._strategy import Prompt, ShowPrompt

Store = Callable[[Target, OAuthTokenData], Awaitable[OAuthTokenData]]


class _SignIn:
    """A sign-in under way: its prompts so far, and who is shown the next ones."""

    def __init__(self) -> None:
        self._prompts: list[Prompt] = []
        self._shows: list[ShowPrompt] = []
        self._waiting = 0
        self._task: asyncio.Task[OAuthTokenData] | None = None

    def start(self, work: Coroutine[Any, Any, OAuthTokenData], ended: Callable[[], object]) -> None:
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(lambda _: ended())

    async def show(self, prompt: Prompt) -> None:
        self._prompts.append(prompt)
        for show in list(self._shows):
            await show(prompt)

    async def join(self, show: ShowPrompt | None) -> OAuthTokenData:
        assert self._task is not None
        self._waiting += 1
        try:
            if show is not None:
                self._shows.append(show)
                for prompt in list(self._prompts):
                    await show(prompt)
            return await asyncio.shield(self._task)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._task.cancel()


class SignIns:
    """The sign-ins under way in this event loop."""

    def __init__(self) -> None:
        self._running: Final[dict[tuple[str, str], _SignIn]] = {}

    async def run(self, target: Target, show: ShowPrompt | None, store: Store) -> OAuthTokenData:
        """The stored token of the sign-in under way, or of a new one.

        It ends when the last caller that waits for it is cancelled.
        """
        sign_in = self._running.get(target.key)
        if sign_in is None:
            sign_in = self._running[target.key] = _SignIn()
            work = self._sign_in(sign_in, target, store, asks=show is not None)
            sign_in.start(work, lambda: self._running.pop(target.key, None))
        return await sign_in.join(show)

    @staticmethod
    async def _sign_in(sign_in: _SignIn, target: Target, store: Store, *, asks: bool) -> OAuthTokenData:
        context = replace(target.context, show=sign_in.show if asks else None)
        return await store(target, await target.strategy.authenticate(target.config, context))
