"""Consent in the browser: PKCE, state, issuer, and a page on loopback that anybody on this machine can call."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from fusion_store import AuthError, ConfigError, NeedsReauth, OAuthTokenData, RefreshFailed
from fusion_store.auth import AuthContext, BrowserPrompt, Prompt, ServiceConfig
from fusion_store.auth._strategies import built_in
from tests.auth.provider import Provider, Reply
from tests.auth.strategies.surroundings import Surroundings

CODE = built_in()["oauth2_authorization_code"]
TOKEN = {"access_token": "a", "refresh_token": "r", "token_type": "Bearer", "expires_in": 3600}


def config(provider: Provider, **settings: Any) -> ServiceConfig:
    urls = {"authorization_url": provider.url("/authorize"), "token_url": provider.url("/token"), **settings}
    return ServiceConfig(type="oauth2_authorization_code", client_id="me", **urls)


class Browser:
    """What the user's browser does when it is shown a prompt: each of ``visits`` is sent to the redirect URI."""

    def __init__(self, *visits: Callable[[dict[str, str]], dict[str, str] | str]) -> None:
        self._visits = visits
        self.query: dict[str, str] = {}
        self.pages: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def show(self, prompt: Prompt) -> None:
        assert isinstance(prompt, BrowserPrompt)
        self.query = dict(parse_qsl(urlsplit(prompt.authorization_url).query))
        self._tasks.append(asyncio.create_task(self._visit()))

    async def _visit(self) -> None:
        redirect = urlsplit(self.query["redirect_uri"])
        assert redirect.port
        for visit in self._visits:
            sent = visit(self.query)
            path = sent if isinstance(sent, str) else f"{redirect.path or '/'}?{urlencode(sent)}"
            raw = path if path.endswith("\r\n\r\n") else f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", redirect.port)
            writer.write(raw.encode())
            self.pages.append((await reader.read()).decode())
            writer.close()
            await writer.wait_closed()

    def statuses(self) -> list[str]:
        return [page.partition("\r\n")[0].removeprefix("HTTP/1.1 ") for page in self.pages]

    async def finish(self) -> None:
        await asyncio.gather(*self._tasks)


def consent(query: dict[str, str]) -> dict[str, str]:
    return {"code": "the code", "state": query["state"]}


def sign_in(surroundings: Surroundings, settings: ServiceConfig, browser: Browser) -> OAuthTokenData:
    async def never(_seconds: float) -> None:
        await asyncio.Event().wait()

    async def work(context: AuthContext) -> OAuthTokenData:
        try:
            return await CODE.authenticate(settings, replace(context, show=browser.show, sleep=never))
        finally:
            await browser.finish()

    return surroundings.run(work)


def test_a_sign_in(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/token", [TOKEN])
    browser = Browser(consent)
    settings = config(
        provider,
        authorization_url=provider.url("/authorize?tenant=x"),
        scopes=("a", "b"),
        resource="https://api.acme.example",
        authorization_parameters={"prompt": "consent"},
    )
    token = sign_in(surroundings, settings, browser)
    assert (token.access_token, token.scope) == ("a", ("a", "b"))
    asked, redeemed = browser.query, provider.requests[0].form
    assert asked.keys() == {
        "tenant",
        "prompt",
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "resource",
        "state",
        "code_challenge",
        "code_challenge_method",
    }
    assert (asked["tenant"], asked["prompt"], asked["response_type"]) == ("x", "consent", "code")
    assert (asked["client_id"], asked["scope"], asked["resource"]) == ("me", "a b", "https://api.acme.example")
    assert asked["code_challenge_method"] == "S256"
    assert urlsplit(asked["redirect_uri"])._replace(netloc="") == urlsplit("http:///callback")
    verifier = redeemed.pop("code_verifier")
    assert 43 <= len(verifier) <= 128
    digest = hashlib.sha256(verifier.encode()).digest()
    assert urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
    assert redeemed == {
        "grant_type": "authorization_code",
        "code": "the code",
        "redirect_uri": asked["redirect_uri"],
        "client_id": "me",
        "resource": "https://api.acme.example",
    }


def test_the_browser_is_shown_a_page_that_gives_nothing_away(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/token", [TOKEN])
    browser = Browser(consent)
    sign_in(surroundings, config(provider), browser)
    (page,) = browser.pages
    assert page.startswith("HTTP/1.1 200 OK\r\n")
    assert "You can close this window" in page
    assert "Cache-Control: no-store\r\n" in page
    assert "Referrer-Policy: no-referrer\r\n" in page
    assert "the code" not in page
    assert browser.query["state"] not in page


def test_every_sign_in_has_its_own_state_and_verifier(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/token", [TOKEN])
    browsers = [Browser(consent), Browser(consent)]
    for browser in browsers:
        sign_in(surroundings, config(provider), browser)
    one, two = browsers
    for name in ("state", "code_challenge"):
        assert len(one.query[name]) >= 43
        assert one.query[name] != two.query[name]


def test_other_visitors_change_nothing(provider: Provider, surroundings: Surroundings) -> None:
    """Whatever else calls the page is refused, and the true answer still counts."""
    provider.script("/token", [TOKEN])

    def two_states(query: dict[str, str]) -> str:
        return f"/callback?state=x&state={query['state']}&code=evil"

    def two_codes(query: dict[str, str]) -> str:
        return f"/callback?state={query['state']}&code=x&code=evil"

    def many(query: dict[str, str]) -> dict[str, str]:
        return {**consent(query), "code": "evil", **{f"a{n}": "b" for n in range(50)}}

    browser = Browser(
        lambda _: "/favicon.ico",
        lambda _: {"code": "evil"},
        lambda _: {"code": "evil", "state": "x"},
        lambda _: {"error": "access_denied"},
        lambda _: {"code": "evil", "state": ""},
        lambda _: {"code": "evil", "state": "ü"},
        lambda _: "/callback?code=%FF&state=%FF",
        two_states,
        two_codes,
        many,
        lambda query: f"POST /callback?{urlencode(consent(query))} HTTP/1.1\r\n\r\n",
        lambda query: f"/elsewhere?{urlencode(consent(query))}",
        lambda _: "\r\n\r\n",
        consent,
    )
    assert sign_in(surroundings, config(provider), browser).access_token == "a"
    assert browser.statuses() == [
        "404 Not Found",
        *["400 Bad Request"] * 9,
        *["404 Not Found"] * 3,
        "200 OK",
    ]
    assert [request.form["code"] for request in provider.requests] == ["the code"]


def test_an_endless_request_is_cut_off(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/token", [TOKEN])
    browser = Browser(lambda _: f"GET /{'x' * 100_000}\r\n\r\n", consent)
    assert sign_in(surroundings, config(provider), browser).access_token == "a"
    assert browser.pages[0] == ""


def test_a_second_answer_changes_nothing(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/token", [TOKEN])

    def again(query: dict[str, str]) -> str:
        return f"/callback?{urlencode({**consent(query), 'code': 'late'})}"

    async def work(context: AuthContext) -> list[str]:
        from fusion_store.auth._strategies._loopback import Loopback

        async with Loopback("http://127.0.0.1/callback", "s") as loopback:
            browser = Browser(consent, again)
            url = f"https://acme.example/?{urlencode({'redirect_uri': loopback.redirect_uri, 'state': 's'})}"
            await browser.show(BrowserPrompt("acme", url))
            await browser.finish()
            response = await loopback.wait(context.sleep, 0)
        assert response is not None
        assert response["code"] == "the code"
        return browser.statuses()

    assert surroundings.run(work) == ["200 OK", "200 OK"]


@pytest.mark.parametrize(
    ("code", "retryable", "text"),
    [
        ("access_denied", None, "the user refused$"),
        ("server_error", True, "server_error$"),
        ("temporarily_unavailable", True, "temporarily_unavailable$"),
        ("invalid_scope", False, "invalid_scope$"),
        ("<b>canary</b>", False, "unreadable_error$"),
    ],
)
def test_the_provider_sends_back_an_error(
    provider: Provider, surroundings: Surroundings, code: str, text: str, *, retryable: bool | None
) -> None:
    browser = Browser(lambda query: {"error": code, "error_description": "canary", "state": query["state"]})
    with pytest.raises(AuthError, match=text) as caught:
        sign_in(surroundings, config(provider), browser)
    assert getattr(caught.value, "retryable", None) is retryable
    assert "canary" not in str(caught.value)
    assert "canary" not in browser.pages[0]
    assert provider.requests == []


@pytest.mark.parametrize("answer", [{}, {"code": ""}])
def test_an_answer_without_a_code(provider: Provider, surroundings: Surroundings, answer: dict[str, str]) -> None:
    browser = Browser(lambda query: {**answer, "state": query["state"]})
    with pytest.raises(RefreshFailed, match="no usable code"):
        sign_in(surroundings, config(provider), browser)


def test_a_code_goes_out_as_it_came(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/token", [TOKEN])
    odd = "a+b/c=&\u00fc%20"
    sign_in(surroundings, config(provider), Browser(lambda query: {"code": odd, "state": query["state"]}))
    assert provider.requests[0].form["code"] == odd


def test_a_code_that_the_provider_won_t_take(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/token", [Reply(400, {"error": "invalid_grant"})])
    with pytest.raises(AuthError, match="invalid_grant"):
        sign_in(surroundings, config(provider), Browser(consent))


def test_the_user_takes_too_long(provider: Provider, surroundings: Surroundings) -> None:
    async def ignore(_prompt: Prompt) -> None:
        return

    with pytest.raises(AuthError, match="didn't consent in time"):
        surroundings.run(lambda context: CODE.authenticate(config(provider), replace(context, show=ignore)))
    assert surroundings.slept == [300]


def test_where_nobody_can_be_asked(provider: Provider, surroundings: Surroundings) -> None:
    with pytest.raises(NeedsReauth):
        surroundings.run(lambda context: CODE.authenticate(config(provider), context), asks=False)


def test_a_sign_in_that_is_given_up_leaves_nothing_behind(provider: Provider, surroundings: Surroundings) -> None:
    async def work(context: AuthContext) -> int | None:
        shown = asyncio.Event()
        urls: list[str] = []

        async def show(prompt: Prompt) -> None:
            assert isinstance(prompt, BrowserPrompt)
            urls.append(dict(parse_qsl(urlsplit(prompt.authorization_url).query))["redirect_uri"])
            shown.set()

        async def never(_seconds: float) -> None:
            await asyncio.Event().wait()

        task = asyncio.create_task(CODE.authenticate(config(provider), replace(context, show=show, sleep=never)))
        await shown.wait()
        port = urlsplit(urls[0]).port
        _, idle = await asyncio.open_connection("127.0.0.1", port)
        task.cancel()
        await asyncio.wait({task}, timeout=5)  # less than a visitor has for its request
        assert task.cancelled()
        idle.close()
        with pytest.raises(OSError, match=r"refused|failed"):
            await asyncio.open_connection("127.0.0.1", port)
        return port

    assert surroundings.run(work)


# Where the browser comes back to


def test_a_redirect_uri_of_one_s_own(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/token", [TOKEN])
    browser = Browser(consent)
    sign_in(surroundings, config(provider, redirect_uri="http://localhost"), browser)
    uri = urlsplit(browser.query["redirect_uri"])
    assert (uri.hostname, uri.path) == ("localhost", "")
    fixed = f"http://127.0.0.1:{uri.port}/back"
    browser = Browser(consent)
    sign_in(surroundings, config(provider, redirect_uri=fixed), browser)
    assert browser.query["redirect_uri"] == fixed


def test_a_port_that_is_taken(provider: Provider, surroundings: Surroundings) -> None:
    taken = config(provider, redirect_uri=f"http://127.0.0.1:{provider.port}/")
    with pytest.raises(ConfigError, match="redirect_uri: can't listen there"):
        sign_in(surroundings, taken, Browser())


# The issuer of the answer (RFC 9207)


def from_issuer(issuer: str | None) -> Browser:
    return Browser(lambda query: {**consent(query), **({} if issuer is None else {"iss": issuer})})


def test_the_issuer_of_the_answer_is_compared_where_one_is_known(
    provider: Provider, surroundings: Surroundings
) -> None:
    provider.script("/token", [TOKEN])
    known = config(provider, issuer=provider.url())
    for settings, issuer in ((known, provider.url()), (known, None), (config(provider), "https://other.example")):
        assert sign_in(surroundings, settings, from_issuer(issuer)).access_token == "a"
    for issuer in ("https://evil.example", provider.url("/"), ""):
        with pytest.raises(RefreshFailed, match="another issuer"):
            sign_in(surroundings, known, from_issuer(issuer))
    assert len(provider.requests) == 3


def test_an_error_of_another_issuer_isn_t_believed(provider: Provider, surroundings: Surroundings) -> None:
    browser = Browser(lambda query: {"error": "access_denied", "iss": "https://evil.example", "state": query["state"]})
    with pytest.raises(RefreshFailed, match="another issuer"):
        sign_in(surroundings, config(provider, issuer=provider.url()), browser)


@pytest.mark.parametrize("promised", [True, False])
def test_an_issuer_that_was_promised_must_be_there(
    provider: Provider, surroundings: Surroundings, *, promised: bool
) -> None:
    provider.script("/token", [TOKEN])
    provider.script(
        "/.well-known/oauth-authorization-server",
        [
            {
                "issuer": provider.url(),
                "authorization_endpoint": provider.url("/authorize"),
                "token_endpoint": provider.url("/token"),
                "authorization_response_iss_parameter_supported": promised,
            }
        ],
    )
    settings = ServiceConfig(type="oauth2_authorization_code", client_id="me", issuer=provider.url())
    assert sign_in(surroundings, settings, from_issuer(provider.url())).access_token == "a"
    if promised:
        with pytest.raises(RefreshFailed, match="another issuer"):
            sign_in(surroundings, settings, from_issuer(None))
    else:
        assert sign_in(surroundings, settings, from_issuer(None)).access_token == "a"
