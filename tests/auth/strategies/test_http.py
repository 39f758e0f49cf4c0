"""What every call to a provider keeps to: time, size, TLS, no redirects; and what its failures mean."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_store import ConfigError, RefreshFailed
from fusion_store.auth._http import HTTP, Answer, read_retry_after, url_problem
from fusion_store.testing import ManualClock
from tests.auth.provider import Gate, Provider, Reply, running_provider
from tests.auth.strategies.certificates import self_signed
from tests.auth.strategies.surroundings import patient

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def ask(provider: Provider, path: str = "/x", **options: float) -> Answer:
    return call(lambda http: http.get(provider.url(path)), **options)


def call(work: Callable[[HTTP], Awaitable[Answer]], **options: float) -> Answer:
    async def main() -> Answer:
        async with HTTP(clock=ManualClock(NOW), **options) as http:  # type: ignore[arg-type]
            return await work(http)

    return asyncio.run(main())


def test_an_answer_is_read_whole(provider: Provider) -> None:
    provider.script("/x", [Reply(json={"a": [1]})])
    answer = ask(provider)
    assert answer.ok
    assert answer.json_object() == {"a": [1]}


def test_a_form_and_json_are_posted(provider: Provider) -> None:
    provider.script("/x", [{}])
    call(lambda http: http.post(provider.url("/x"), form={"a": "ä&="}))
    call(lambda http: http.post(provider.url("/x"), json={"a": 1}, headers={"X-Y": "z"}, cookies={"c": "d"}))
    form, json = provider.requests
    assert form.form == {"a": "ä&="}
    assert json.json == {"a": 1}
    assert json.headers["x-y"] == "z"
    assert json.headers["cookie"] == "c=d"


def test_the_whole_call_has_one_timeout(provider: Provider) -> None:
    """Also where each part comes within it: the headers at once, the body never."""
    provider.script("/x", [Reply(gate=Gate())])
    provider.script("/y", [Reply(body=b"x" * 10, cut=5, held_open=True)])
    for path in ("/x", "/y"):
        with pytest.raises(RefreshFailed, match=r"no whole answer within 0\.2 s") as caught:
            ask(provider, path, timeout=0.2)
        assert caught.value.retryable


def test_a_body_over_the_bound_is_refused_while_it_comes(provider: Provider) -> None:
    provider.script("/x", [Reply(body=b"x" * 1000)])
    assert len(ask(provider, max_body=1000).body) == 1000
    with pytest.raises(RefreshFailed, match="more than 999 bytes") as caught:
        ask(provider, max_body=999)
    assert not caught.value.retryable


def test_the_bound_is_a_mebibyte(provider: Provider) -> None:
    provider.script("/x", [Reply(body=b"x" * (1024 * 1024 + 1))])
    with pytest.raises(RefreshFailed, match="more than 1048576 bytes"):
        ask(provider)


def test_an_encoded_body_is_neither_asked_for_nor_unpacked(provider: Provider) -> None:
    provider.script("/x", [Reply(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})])
    with pytest.raises(RefreshFailed, match="encoded"):
        ask(provider)
    assert provider.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(provider: Provider, status: int) -> None:
    provider.script("/x", [Reply(status, headers={"Location": provider.url("/elsewhere")})])
    with pytest.raises(RefreshFailed, match="redirects aren't followed") as caught:
        ask(provider)
    assert not caught.value.retryable
    assert provider.asked("/elsewhere") == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_overload_and_server_errors_may_be_tried_again(provider: Provider, status: int) -> None:
    provider.script("/x", [Reply(status, headers={"Retry-After": "17"}), Reply(status)])
    for retry_after in (17.0, None):
        with pytest.raises(RefreshFailed, match=str(status)) as caught:
            ask(provider)
        assert caught.value.retryable
        assert caught.value.retry_after == retry_after


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_other_refusals_are_answers(provider: Provider, status: int) -> None:
    provider.script("/x", [Reply(status, {"error": "e"})])
    answer = ask(provider)
    assert not answer.ok
    assert answer.status == status


@pytest.mark.parametrize("cut", [0, 3])
def test_a_body_cut_short_may_be_tried_again(provider: Provider, cut: int) -> None:
    provider.script("/x", [Reply(json={"access_token": "canary"}, cut=cut)])
    with pytest.raises(RefreshFailed) as caught:
        ask(provider)
    assert caught.value.retryable


def test_a_provider_that_is_down_may_be_tried_again() -> None:
    with running_provider() as gone:
        url = gone.url("/x")
    with pytest.raises(RefreshFailed, match="ConnectError") as caught:
        call(lambda http: http.get(url))
    assert caught.value.retryable


def test_no_secret_of_the_request_is_in_a_failure() -> None:
    with running_provider() as gone:
        url = gone.url("/x")
    with pytest.raises(RefreshFailed) as caught:
        call(lambda http: http.post(url, form={"refresh_token": "canary"}))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("url", ["http://example.com/token", "http://127.0.0.2/", "http://localhost.example.com/"])
def test_plain_http_is_for_loopback(url: str) -> None:
    with pytest.raises(ConfigError, match="use https"):
        call(lambda http: http.get(url))


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = self_signed(tmp_path)
    context.load_cert_chain(certificate)
    with running_provider(context) as provider:
        provider.script("/x", [{}])
        with pytest.raises(RefreshFailed, match="ConnectError"):
            ask(provider)
        assert provider.requests == []
        trusting = httpx2.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=certificate))
        assert asyncio.run(through(trusting, provider.url("/x"))).ok


async def through(transport: httpx2.AsyncBaseTransport, url: str) -> Answer:
    async with transport, HTTP(transport=transport) as http:
        return await http.get(url)


def test_a_given_transport_stays_open() -> None:
    class Transport(httpx2.AsyncBaseTransport):
        closed = False

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, json={"host": request.url.host})

        async def aclose(self) -> None:
            self.closed = True

    async def main(transport: Transport) -> dict[str, object] | None:
        async with HTTP(transport=transport) as http:
            return (await http.get("https://example.com/x")).json_object()

    transport = Transport()
    assert asyncio.run(main(transport)) == {"host": "example.com"}
    assert not transport.closed


def test_what_is_for_loopback_goes_through_no_proxy(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.script("/x", [{}])
    with running_provider() as proxy:
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy.url())
        for variable in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(variable, raising=False)
        assert ask(provider).ok
        assert proxy.requests == []


def test_no_cookie_outlives_its_call(provider: Provider) -> None:
    provider.script("/x", [Reply(json={}, headers={"Set-Cookie": 'sid="canary"; Path=/; HttpOnly'})])

    async def twice(http: HTTP) -> Answer:
        first = await http.get(provider.url("/x"))
        await http.get(provider.url("/x"))
        return first

    assert call(twice).cookies == {"sid": "canary"}
    assert "cookie" not in provider.requests[1].headers


def test_calls_don_t_share_connections(provider: Provider) -> None:
    """A connection that the server is closing would take a refresh token with it."""
    provider.script("/x", [Reply(json={}, headers={"Connection": "keep-alive"}, held_open=True)])

    async def twice(http: HTTP) -> Answer:
        await http.get(provider.url("/x"))
        return await http.get(provider.url("/x"))

    assert call(twice).ok


def test_an_answer_s_body_isn_t_shown() -> None:
    assert "canary" not in repr(Answer(200, b"canary", {"sid": "canary"}))


# Retry-After


@patient
@given(st.integers(0, 10**400))
def test_retry_after_in_seconds(seconds: int) -> None:
    with_int_limit_off = format(seconds, "d") if seconds < 10**300 else "9" * 400
    assert read_retry_after(with_int_limit_off, NOW) == min(seconds, 3600)


@patient
@given(st.integers(-(10**9), 10**9))
def test_retry_after_as_a_date(seconds: int) -> None:
    moment = NOW + timedelta(seconds=seconds)
    assert read_retry_after(format_datetime(moment, usegmt=True), NOW) == min(max(seconds, 0), 3600)


def test_a_date_in_another_zone() -> None:
    moment = (NOW + timedelta(seconds=90)).astimezone(timezone(timedelta(hours=-5)))
    assert read_retry_after(format_datetime(moment), NOW) == 90


def test_a_date_of_the_old_forms() -> None:
    """RFC 9110 section 5.6.7 wants all three read."""
    assert read_retry_after("Friday, 02-Jan-26 03:05:05 GMT", NOW) == 60
    assert read_retry_after("Fri Jan  2 03:05:05 2026", NOW) == 60


@patient
@given(st.text())
def test_any_other_retry_after_is_none_or_within_bounds(value: str) -> None:
    seconds = read_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= 3600


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "1.5", "NaN", "Infinity", "٣", "0\x1f", "Fri, 99 Foo 2026 25:61:61 GMT"]
)
def test_a_malformed_retry_after_says_nothing(value: str) -> None:
    assert read_retry_after(value, NOW) is None


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/a?b=c",
        "http://localhost:1/",
        "http://127.0.0.1",
        "http://[::1]:5/x",
        "https://[2001:db8::1]/",
        "https://my_host.internal/",
    ],
)
def test_usable_urls(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "https://",
        "https://:443/",
        "https://exa mple.com",
        "https://example.com/\r\nX: y",
        "https://example.com\\@evil.example",
        "https://user:password@example.com/",
        "https://@example.com/",
        "https://example.com/#fragment",
        "https://example.com:99999/",
        "https://example.com:0/",
        "https://bücher.example/",
        "https://xn--0a._/",
        "https://xn--0a.a1--a/",
        "https://[::1/",
        "http://example.com/",
        "http://127.0.0.1.example.com/",
        "http://localhost@example.com/",
        "http://2130706433/",
        "javascript:alert(1)",
        "file:///etc/passwd",
    ],
)
def test_unusable_urls(url: str) -> None:
    assert url_problem(url) is not None


@patient
@given(st.from_regex(r"https?://([a-z0-9.\[\]:%@/?#\\_!*'-]{1,20}|(xn--)?[a-z0-9._-]{1,12})", fullmatch=True))
def test_what_passes_leads_where_it_seems_to(url: str) -> None:
    """Python's parser, which checks a URL, and the client's agree about its host."""
    if url_problem(url) is None:
        parsed = httpx2.URL(url)
        assert parsed.raw_host.decode() == urlsplit(url).hostname
        assert parsed.host
