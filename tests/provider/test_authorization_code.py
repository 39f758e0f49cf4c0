"""The authorization code from a program, with PKCE and a redirect to loopback (RFC 6749, RFC 7636, RFC 8252)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from fusion_store import AuthError, OAuthTokenData
from fusion_store.auth import BrowserPrompt, Prompt, ServiceConfig, Tenant
from tests.provider.browser import Browser
from tests.provider.conftest import CLIENT_SECRET, CLIENTS_WITH_A_SECRET, SERVICE, Host, Provider

TYPE = "oauth2_authorization_code"


def sign_in(host: Host, config: ServiceConfig, browse: Callable[[str], object]) -> OAuthTokenData:
    """The token of a user who does with the address what ``browse`` says, while the program waits."""
    browsing: list[asyncio.Task[object]] = []

    async def show(prompt: Prompt) -> None:
        assert isinstance(prompt, BrowserPrompt)
        browsing.append(asyncio.create_task(asyncio.to_thread(browse, prompt.authorization_url)))

    async def work(tenant: Tenant) -> OAuthTokenData:
        try:
            return await tenant.authenticate(SERVICE, config, show=show)
        finally:
            await asyncio.gather(*browsing)

    return host.run(work)


def consents(url: str) -> None:
    assert "You can close this window" in Browser().consent(url)


def test_token_is_stored_once_the_browser_comes_back(host: Host, provider: Provider) -> None:
    token = sign_in(host, provider.config(TYPE), consents)
    assert token.refresh_token
    assert token.scope == ("openid", "offline_access")
    assert token.expires_at is not None
    assert timedelta(minutes=59) < token.expires_at - host.clock() <= timedelta(hours=1)
    assert host.stored == token
    assert provider.user_of(token) == "alice"


def test_address_asks_with_pkce_state_and_a_redirect_to_loopback(host: Host, provider: Provider) -> None:
    addresses: list[str] = []

    def browse(url: str) -> None:
        addresses.append(url)
        consents(url)

    for _ in range(2):
        sign_in(host, provider.config(TYPE), browse)
    first, second = (parse_qs(urlsplit(address).query) for address in addresses)
    assert addresses[0].startswith(f"{provider.issuer}/auth?")
    assert first["code_challenge_method"] == ["S256"]
    assert first["redirect_uri"][0].startswith("http://127.0.0.1:")
    assert first["redirect_uri"][0].endswith("/callback")
    for name in ("state", "code_challenge"):
        assert len(first[name][0]) >= 43
        assert first[name] != second[name]


def test_code_is_of_no_use_to_whoever_sees_it(host: Host, provider: Provider) -> None:
    seen: list[tuple[str, str]] = []

    def browse(url: str) -> None:
        redirect_uri = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        # Nobody listens there, so that the code stays in the address.
        elsewhere = url.replace(urlsplit(redirect_uri).netloc.replace(":", "%3A"), "127.0.0.1%3A1")
        with pytest.raises(httpx2.ConnectError) as refused:
            Browser().consent(elsewhere)
        code = parse_qs(refused.value.request.url.query.decode())["code"][0]
        seen.append((code, "http://127.0.0.1:1/callback"))
        consents(url)

    sign_in(host, provider.config(TYPE), browse)
    ((code, redirect_uri),) = seen
    form = {"code": code, "redirect_uri": redirect_uri, "code_verifier": 43 * "x"}
    answer = provider.post("/token", grant_type="authorization_code", **form)
    assert answer.json()["error"] == "invalid_grant"
    assert provider.refusals == {"code_verifier does not match code_challenge": 1}


@pytest.mark.parametrize(("client", "method"), CLIENTS_WITH_A_SECRET)
def test_client_with_a_secret(
    host: Host, provider: Provider, monkeypatch: pytest.MonkeyPatch, client: str, method: str
) -> None:
    monkeypatch.setenv("UPSTREAM_SECRET", CLIENT_SECRET)
    config = provider.config(TYPE, client_id=client, client_secret="env:UPSTREAM_SECRET", client_auth=method)
    assert provider.user_of(sign_in(host, config, consents)) == "alice"


def test_configured_endpoints_need_no_discovery(host: Host, provider: Provider) -> None:
    endpoints = {"authorization_url": f"{provider.issuer}/auth", "token_url": f"{provider.issuer}/token"}
    token = sign_in(host, provider.config(TYPE, issuer=None, **endpoints), consents)
    assert provider.user_of(token) == "alice"


def test_user_refuses(host: Host, provider: Provider) -> None:
    with pytest.raises(AuthError, match="upstream: the user refused"):
        sign_in(host, provider.config(TYPE), Browser().refuse)
    assert host.stored is None


def test_another_sign_in_replaces_the_token(host: Host, provider: Provider) -> None:
    first = sign_in(host, provider.config(TYPE), consents)
    second = sign_in(host, provider.config(TYPE), lambda url: Browser("bob").consent(url))
    assert (first.version, second.version) == (1, 2)
    assert host.stored == second
    assert provider.user_of(second) == "bob"
