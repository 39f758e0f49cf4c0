"""Ten thousand headers that no client should send: each is refused, at once, and nothing breaks."""

from __future__ import annotations

import asyncio
import http.client
import logging
import random
import time
from collections.abc import Iterator

import pytest

from fusion_store import TokenRepository
from fusion_store.http import BearerAuthMiddleware
from tests.http.applications import SERVING, starlette_app
from tests.http.servers import call

SEED = 6750
WITHIN_SECONDS = 0.05
TOKEN = "5eed" * 16
B64TOKEN = "ABCXYZabcxyz0189-._~+/"


def malformed(count: int, seed: int) -> Iterator[bytes]:
    """Values of ``Authorization``, from wholly random to one step away from a good one. No token among them lives."""
    source = random.Random(seed)
    good = f"Bearer {TOKEN}".encode()
    anything = bytes(range(256))
    visible = bytes(range(32, 127))
    for _ in range(count):
        changed = bytearray(good)
        match source.randrange(8):
            case 0:
                yield bytes(source.choices(anything, k=source.randrange(200)))
            case 1:
                yield bytes(source.choices(visible, k=source.randrange(200)))
            case 2:
                changed[source.randrange(len(good))] = source.choice(anything)
                yield bytes(changed)
            case 3:
                yield good[: source.randrange(len(good))]
            case 4:
                place = source.randrange(len(good))
                yield good[:place] + bytes(source.choices(b" \t,;=\"'\\\x00\x7f\xff", k=3)) + good[place:]
            case 5:
                yield source.choice([b",", b", ", b" ", b";"]).join([good] * source.randrange(2, 40))
            case 6:
                scheme = source.choice(["Bearer", "bearer", "Basic", "Digest", "DPoP", "Token", ""])
                text = "".join(source.choices(B64TOKEN + "= ,", k=source.randrange(300)))
                yield f"{scheme} {text}".encode()
            case _:
                yield b"Bearer " + source.choice([b"a", b"=", b" ", b"a=", b"\xc3\xa9"]) * source.randrange(20_000)


def as_sent(value: bytes) -> bytes:
    """Without the characters that would end the header, or that the client itself refuses."""
    return value.translate(None, b"\r\n")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "count"), [("asgi", 10_000), ("wsgi", 10_000)])
def test_malformed_headers_are_refused_at_once(
    vault: TokenRepository, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], kind: str, count: int
) -> None:
    caplog.set_level(logging.WARNING)
    statuses: dict[int, int] = {}
    slowest = 0.0
    with SERVING[kind](vault, public_paths=["/health"]) as server:
        connection = http.client.HTTPConnection(server)
        for value in map(as_sent, malformed(count, SEED)):
            # Of this process, client and server: what else the machine does doesn't count.
            started = time.process_time()
            connection.request("GET", "/", headers={"Authorization": value})
            answer = connection.getresponse()
            answer.read()
            taken = time.process_time() - started
            assert answer.status in (400, 401), value
            assert taken < WITHIN_SECONDS, value[:80]
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            slowest = max(slowest, taken)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()

    assert min(statuses[400], statuses[401]) > count / 20
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    assert "Traceback" not in "".join(capfd.readouterr())
    print(f"{count} headers, the costliest took {slowest * 1000:.1f} ms of processor time: {statuses}")  # noqa: T201 - a figure


def test_bytes_that_a_server_would_stop_are_refused_as_well(vault: TokenRepository) -> None:
    middleware = BearerAuthMiddleware(starlette_app(), vault)

    async def refused() -> None:
        for value in malformed(2_000, SEED + 1):
            status, headers = await call(middleware, [(b"authorization", value)])
            assert status in (400, 401), value
            assert headers["www-authenticate"].startswith('Bearer realm="fusion-store"')

    asyncio.run(refused())
