"""One sign-in at a time for a tenant and service, shared by all who ask for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

from fusion_store._errors import NeedsReauth
from fusion_store._values import OAuthTokenData
from fusion_store.auth._renewal import Target
from fusion_store.auth._strategy import Prompt, ShowPrompt

logger: Final = logging.getLogger("fusion_store.auth")

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
        if not self._shows:
            raise NeedsReauth(f"{prompt.service}: the user has to consent first: run fusion-store connect")
        self._prompts.append(prompt)
        for show in list(self._shows):
            await self._show_to(show, prompt)

    async def _show_to(self, show: ShowPrompt, prompt: Prompt) -> None:
        try:
            await show(prompt)
        except Exception as error:
            # One caller's screen is gone; the others' aren't.
            logger.warning("a prompt of %s can't be shown: %s", prompt.service, type(error).__name__)

    async def join(self, show: ShowPrompt | None, abandoned: Callable[[], object]) -> OAuthTokenData:
        assert self._task is not None
        self._waiting += 1
        try:
            if show is not None:
                self._shows.append(show)
                for prompt in list(self._prompts):
                    await self._show_to(show, prompt)
            return await asyncio.shield(self._task)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._task.done():
                abandoned()
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
            sign_in.start(self._sign_in(sign_in, target, store), lambda: self._forget(target, sign_in))
        return await sign_in.join(show, lambda: self._forget(target, sign_in))

    def _forget(self, target: Target, sign_in: _SignIn) -> None:
        if self._running.get(target.key) is sign_in:
            del self._running[target.key]

    @staticmethod
    async def _sign_in(sign_in: _SignIn, target: Target, store: Store) -> OAuthTokenData:
        context = replace(target.context, show=sign_in.show)
        return await store(target, await target.strategy.authenticate(target.config, context))
