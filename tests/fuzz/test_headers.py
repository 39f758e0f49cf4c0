"""Any bytes in ``Authorization``: only the token itself, presented as RFC 6750 says, lets a request through."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

from fusion_store import IssuedToken, TokenRepository, get_repository
from fusion_store.http import BearerAuthMiddleware, BearerAuthWSGI
from tests.fuzz.inputs import Stopwatch, fuzzed

GOOD = b"<the token>"
parts = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [GOOD, GOOD, b"Bearer ", b"bearer  ", b"Basic ", b"Bearer", b" ", b"\t", b",", b"=", b"\x00", b"\xff"]
    ),
    st.integers(8100, 8200).map(lambda size: b"a" * size),
)
nearly_good = st.tuples(
    st.sampled_from([b"Bearer", b"bearer", b"BEARER", b"Bearers", b"Basic", b""]),
    st.sampled_from([b" ", b"  ", b"", b"\t", b"\n", b"="]),
    st.just(GOOD),
    st.sampled_from([b"", b" ", b"=", b"\n", b", x"]),
).map(b"".join)
values = st.lists(parts, max_size=4).map(b"".join) | nearly_good


@pytest.fixture(scope="module")
def vault() -> Iterator[TokenRepository]:
    with get_repository("memory://") as repository:
        yield repository


@pytest.fixture(scope="module")
def issued(vault: TokenRepository) -> IssuedToken:
    return vault.add_api_token()


def lets_through(value: bytes, token: bytes) -> bool:
    """By the letter of RFC 6750."""
    return re.fullmatch(rb"(?i:bearer) +" + token, value.strip(b" \t")) is not None


@fuzzed(headers=st.lists(values, max_size=2), query=st.binary(max_size=20) | st.just(b"access_token=x"))
def test_asgi(
    vault: TokenRepository, issued: IssuedToken, timed: Stopwatch, headers: list[bytes], query: bytes
) -> None:
    token = issued.token.encode()
    sent = [value.replace(GOOD, token) for value in headers]
    statuses: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": query,
        "headers": [(b"authorization", value) for value in sent],
    }
    timed(lambda: asyncio.run(BearerAuthMiddleware(application, vault)(scope, receive, send)))
    good = len(sent) == 1 and lets_through(sent[0], token) and b"access_token" not in query
    assert statuses == [200] if good else statuses[0] in (400, 401)


@fuzzed(value=values)
def test_wsgi(vault: TokenRepository, issued: IssuedToken, timed: Stopwatch, value: bytes) -> None:
    token = issued.token.encode()
    sent = value.replace(GOOD, token)
    statuses: list[str] = []

    def application(environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [])
        return []

    def start(status: str, headers: Any, error: Any = None, /) -> Callable[[bytes], object]:
        statuses.append(status[:3])
        return lambda _: None

    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "HTTP_AUTHORIZATION": sent.decode("latin-1"),
    }
    timed(lambda: list(BearerAuthWSGI(application, vault)(environ, start)))
    assert statuses == ["200"] if lets_through(sent, token) else statuses[0] in ("400", "401")
