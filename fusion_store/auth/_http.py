"""HTTP to providers: bounded in time and size, over TLS, without redirects."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from fusion_store._errors import ConfigError, RefreshFailed

if TYPE_CHECKING:
    from types import TracebackType

    import httpx2

    from fusion_store.auth._discovery import ServerMetadata

TIMEOUT: Final = 30.0
"""Seconds that a call may take, from the connection to the last byte of the answer."""
MAX_BODY_BYTES: Final = 1024 * 1024
MAX_RETRY_AFTER: Final = 3600.0
"""Seconds; a provider that asks for more is asked again after these."""

_RETRYABLE_STATUSES: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_is_url_text: Final = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+").fullmatch
_is_host: Final = re.compile(
    r"[a-z0-9_]+(-+[a-z0-9_]+)*(\.[a-z0-9_]+(-+[a-z0-9_]+)*)*|[0-9a-f:.]*:[0-9a-f:.]*"
).fullmatch
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def utc_now() -> datetime:
    """The system's time."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Answer:
    """What a provider answered, whole and read. Its body may hold secrets, so ``repr`` shows the status only."""

    status: int
    body: bytes = field(repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def json_object(self) -> dict[str, Any] | None:
        """The JSON object in the body; None where it holds something else."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


class HTTP:
    """The calls to providers, of one event loop.

    Every call has ``timeout`` seconds in all, an answer at most ``max_body`` bytes. Certificates are verified,
    redirects are not followed, and plain http is refused but for loopback. No cookie outlives its call.

    - ``transport``: in place of the network, or for a proxy or authorities of one's own
      (``httpx2.AsyncHTTPTransport(proxy=…, verify=…)``); whoever made it closes it. By default the network, through
      the proxy that the environment names.
    - ``clock``: the present as an aware datetime, for a ``Retry-After`` that is a date.

    Raises ``RefreshFailed``: retryable for what the network does, for timeouts and for the statuses 408, 425, 429 and
    5xx, with the ``retry_after`` asked for; else for redirects and for answers that are too big or encoded. Without
    httpx2 the first call is ``ConfigError``.
    """

    def __init__(
        self,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        timeout: float = TIMEOUT,
        max_body: int = MAX_BODY_BYTES,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.clock = clock
        self.discovered: dict[str, tuple[datetime, ServerMetadata]] = {}
        """What providers said of themselves by issuer, and until when to believe it."""
        self._transport = transport
        self._timeout = timeout
        self._max_body = max_body
        self._client: httpx2.AsyncClient | None = None

    async def get(self, url: str) -> Answer:
        """GET, for JSON."""
        return await self.send(self._open().build_request("GET", url, headers={"Accept": "application/json"}))

    async def post(
        self,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST a form or JSON, for JSON."""
        sent = {"Accept": "application/json", **(headers or {})}
        if cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        request = self._open().build_request("POST", url, data=form, json=json, headers=sent)
        return await self.send(request)

    async def send(self, request: httpx2.Request) -> Answer:
        """Send a request as it stands, and read the answer."""
        import httpx2

        host = request.url.raw_host.decode("ascii")
        if not is_protected(request.url.scheme, host):
            raise ConfigError(f"{host}: plain http is for loopback only: use https")
        request.headers["Accept-Encoding"] = "identity"  # what unpacks to gigabytes isn't asked for
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._open().send(request, stream=True, follow_redirects=False)
                try:
                    self._check(response, host)
                    return Answer(response.status_code, await self._read(response, host), _cookies(response))
                finally:
                    await response.aclose()
        except TimeoutError:
            reason = f"no whole answer within {self._timeout:g} s"
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            reason = type(error).__name__
        # Not within the handlers: the client's errors hold the request, secrets included.
        raise RefreshFailed(f"{host}: {reason}", retryable=True)

    def _check(self, response: httpx2.Response, host: str) -> None:
        status = response.status_code
        if status in _RETRYABLE_STATUSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait = read_retry_after(response.headers.get("Retry-After"), self.clock())
            raise RefreshFailed(f"{host} answered {status}", retryable=True, retry_after=wait)
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise RefreshFailed(f"{host} answered {status}: redirects aren't followed")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise RefreshFailed(f"{host} sent an encoded answer, which wasn't asked for")

    async def _read(self, response: httpx2.Response, host: str) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._max_body:
                raise RefreshFailed(f"{host} sent more than {self._max_body} bytes")
        return bytes(body)

    def _open(self) -> httpx2.AsyncClient:
        if self._client is None:
            try:
                import httpx2
            except ImportError:
                raise missing("httpx2") from None
            self._client = httpx2.AsyncClient(
                transport=None if self._transport is None else _borrowed(self._transport),
                # What is meant for loopback never goes through a proxy.
                mounts=None if self._transport else {f"all://{_bracketed(host)}": None for host in _LOOPBACK},
                # A connection that a server is closing would lose a refresh token on its way: each call has its own.
                limits=httpx2.Limits(max_keepalive_connections=0),
                timeout=self._timeout,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                follow_redirects=False,
            )
        return self._client

    async def aclose(self) -> None:
        """Close what was opened here; a call after it opens anew."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def missing(library: str) -> ConfigError:
    """The error for a library that isn't installed."""
    return ConfigError(f"{library} isn't installed: pip install 'fusion-store[auth]'")


def _borrowed(transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
    """A transport that a client's closing leaves open."""
    import httpx2

    class Borrowed(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            return await transport.handle_async_request(request)

    return Borrowed()


def _cookies(response: httpx2.Response) -> dict[str, str]:
    pairs = (line.partition(";")[0].partition("=") for line in response.headers.get_list("Set-Cookie"))
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: ``localhost``, ``127.0.0.1`` or ``::1``."""
    return host in _LOOPBACK


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def is_protected(scheme: str, host: str) -> bool:
    """Whether what is sent there can't be read on its way: https, or http to loopback."""
    return bool(host) and (scheme == "https" or (scheme == "http" and is_loopback(host)))


def url_problem(url: str) -> str | None:
    """Why a URL can't be called; None for one that can. Secrets and fragments don't belong into it."""
    if not _is_url_text(url):
        return "must be a URL in ASCII, with what else it holds in percent-encoding"
    try:
        parts = urlsplit(url)
        port_is_known = parts.port is None or parts.port > 0
        host = parts.hostname or ""
    except ValueError:
        return "must be a URL like https://host/path"
    if not port_is_known or parts.scheme not in ("https", "http") or not _is_host(host):
        return "must be a URL like https://host/path"
    if parts.username is not None or parts.fragment:
        return "must have neither user name nor fragment"
    if not is_protected(parts.scheme, host):
        return "must be https; http is for loopback only"
    return "must be on a host whose name can be looked up" if "xn--" in host and not _client_reads(url) else None


def _client_reads(url: str) -> bool:
    """Whether the client can take a URL with Punycode apart: for some names that are none it raises its own errors."""
    try:
        import httpx2
    except ImportError:
        return True
    try:
        return bool(httpx2.URL(url).host)
    except (httpx2.InvalidURL, UnicodeError):
        return False


def with_query(url: str, query: Mapping[str, str]) -> str:
    """A URL with more query parameters; its own stay (RFC 6749 section 3.1)."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode(query))))))


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, 0 to 3600, from seconds or an HTTP date (RFC 9110 section 10.2.3).

    None where the header is missing or malformed.
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]+", value):
        return min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now) / timedelta(seconds=1), 0.0), MAX_RETRY_AFTER)
