"""The device flow from a program (RFC 8628)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from fusion_store import AuthError, OAuthTokenData
from fusion_store.auth import DevicePrompt, Prompt, ServiceConfig
from tests.provider.browser import Browser
from tests.provider.conftest import CLIENT_SECRET, CLIENTS_WITH_A_SECRET, CODE_LIFE, SERVICE, Host, Provider

Action = Callable[[DevicePrompt], object]


class User:
    """Acts when the program has slept ``after`` times; the program's sleeping takes no time."""

    def __init__(self, host: Host, action: Action, after: int = 1) -> None:
        self._host = host
        self._action = action
        self._after = after
        self.sleeps: list[float] = []
        self.prompts: list[DevicePrompt] = []

    def authenticate(self, config: ServiceConfig) -> OAuthTokenData:
        return self._host.run(lambda tenant: tenant.authenticate(SERVICE, config, show=self._show), sleep=self._sleep)

    async def _show(self, prompt: Prompt) -> None:
        assert isinstance(prompt, DevicePrompt)
        self.prompts.append(prompt)

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._host.pass_time(timedelta(seconds=seconds))
        if len(self.sleeps) == self._after:
            await asyncio.to_thread(self._action, *self.prompts)


def opens_link(prompt: DevicePrompt) -> None:
    assert "Sign-in Success" in Browser().consent(str(prompt.verification_uri_complete))


def types_code(prompt: DevicePrompt) -> None:
    assert "Sign-in Success" in Browser().consent(prompt.verification_uri, prompt.user_code)


@pytest.mark.parametrize("consents", [opens_link, types_code])
def test_token_is_stored_once_the_user_has_consented(host: Host, provider: Provider, consents: Action) -> None:
    user = User(host, consents, after=3)
    token = user.authenticate(provider.config())
    assert token.refresh_token
    assert token.scope == ("openid", "offline_access")
    assert token.expires_at is not None
    assert timedelta(minutes=59) < token.expires_at - host.clock() <= timedelta(hours=1)
    assert host.stored == token
    assert provider.user_of(token) == "alice"
    assert provider.refusals == {"authorization_pending": 2}


def test_prompt_holds_what_the_user_needs(host: Host, provider: Provider) -> None:
    user = User(host, opens_link)
    begun_at = host.clock()
    user.authenticate(provider.config())
    (prompt,) = user.prompts
    assert prompt.service == SERVICE
    assert prompt.verification_uri == f"{provider.issuer}/device"
    assert prompt.verification_uri_complete == f"{provider.issuer}/device?user_code={prompt.user_code}"
    assert timedelta() <= prompt.expires_at - begun_at - CODE_LIFE < timedelta(seconds=30)


def test_polls_every_five_seconds_where_the_provider_names_no_interval(host: Host, provider: Provider) -> None:
    user = User(host, opens_link, after=4)
    user.authenticate(provider.config())
    assert user.sleeps == [5, 5, 5, 5]


@pytest.mark.parametrize(("client", "method"), CLIENTS_WITH_A_SECRET)
def test_client_with_a_secret(
    host: Host, provider: Provider, monkeypatch: pytest.MonkeyPatch, client: str, method: str
) -> None:
    monkeypatch.setenv("UPSTREAM_SECRET", CLIENT_SECRET)
    config = provider.config(client_id=client, client_secret="env:UPSTREAM_SECRET", client_auth=method)
    User(host, opens_link).authenticate(config)
    host.pass_time(timedelta(hours=1))
    token = host.run(lambda tenant: tenant.get_token(SERVICE, config))
    assert token.version == 2
    assert provider.user_of(token) == "alice"


def test_configured_endpoints_need_no_discovery(host: Host, provider: Provider) -> None:
    endpoints = {
        "device_authorization_url": f"{provider.issuer}/device/auth",
        "token_url": f"{provider.issuer}/token",
    }
    token = User(host, opens_link).authenticate(provider.config(issuer=None, **endpoints))
    assert provider.user_of(token) == "alice"


def test_user_refuses(host: Host, provider: Provider) -> None:
    user = User(host, lambda prompt: Browser().refuse(str(prompt.verification_uri_complete)))
    with pytest.raises(AuthError, match="upstream: the user refused"):
        user.authenticate(provider.config())
    assert host.stored is None


def test_code_expires_at_the_provider(host: Host, provider: Provider) -> None:
    user = User(host, lambda _: provider.shift(CODE_LIFE))
    with pytest.raises(AuthError, match="the code expired"):
        user.authenticate(provider.config())
    assert provider.refusals == {"expired_token": 1}
    assert host.stored is None


def test_code_expires_here(host: Host, provider: Provider) -> None:
    user = User(host, lambda _: None)
    with pytest.raises(AuthError, match="the code expired"):
        user.authenticate(provider.config())
    assert CODE_LIFE - timedelta(seconds=30) < timedelta(seconds=sum(user.sleeps)) <= CODE_LIFE
    assert host.stored is None


def test_callers_at_the_same_time_share_one_code(host: Host, provider: Provider) -> None:
    shown: list[Prompt] = []

    async def show(prompt: Prompt) -> None:
        shown.append(prompt)

    async def sleep(seconds: float) -> None:
        assert isinstance(shown[0], DevicePrompt)
        await asyncio.to_thread(opens_link, shown[0])

    def sign_in(tenant: Any) -> Awaitable[list[OAuthTokenData]]:
        return asyncio.gather(*(tenant.authenticate(SERVICE, show=show) for _ in range(8)))

    tokens = host.run(sign_in, sleep=sleep)
    assert len({prompt.user_code for prompt in shown if isinstance(prompt, DevicePrompt)}) == 1
    assert len(shown) == 8
    assert len({token.access_token for token in tokens}) == 1
