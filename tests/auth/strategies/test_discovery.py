"""Endpoints that a server publishes (RFC 8414, OpenID Connect Discovery)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from fusion_store import ConfigError, RefreshFailed
from fusion_store.auth import AuthContext
from fusion_store.auth._discovery import ServerMetadata, discover
from fusion_store.auth._http import HTTP
from tests.auth.provider import Provider, Reply
from tests.auth.strategies.surroundings import Surroundings

OAUTH = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


def ask(surroundings: Surroundings, issuer: str) -> ServerMetadata:
    return surroundings.run(lambda context: discover(context.http, issuer))


def document(provider: Provider, issuer: str, **members: Any) -> dict[str, Any]:
    return {"issuer": issuer, "token_endpoint": provider.url("/token"), **members}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", OAUTH),
        ("", OPENID),
        ("/", OAUTH),
        ("/tenant/1", f"{OAUTH}/tenant/1"),
        ("/tenant/1", f"{OPENID}/tenant/1"),
        ("/tenant/1", f"/tenant/1{OPENID}"),
        ("/tenant/", f"/tenant{OPENID}"),
    ],
)
def test_metadata_are_found_at_each_place(
    provider: Provider, surroundings: Surroundings, path: str, place: str
) -> None:
    issuer = provider.url(path)
    provider.script(place, [document(provider, issuer, device_authorization_endpoint=provider.url("/device"))])
    metadata = ask(surroundings, issuer)
    assert metadata.token_endpoint == provider.url("/token")
    assert metadata.device_authorization_endpoint == provider.url("/device")
    assert metadata.revocation_endpoint is None


@pytest.mark.parametrize(
    "other", [Reply(404), Reply(body=b"<html>"), Reply(302), Reply(403, {"error": "x"}), Reply(json=[])]
)
def test_a_place_with_something_else_is_passed_over(
    provider: Provider, surroundings: Surroundings, other: Reply
) -> None:
    provider.script(OAUTH, [other])
    provider.script(OPENID, [document(provider, provider.url())])
    assert ask(surroundings, provider.url()).token_endpoint == provider.url("/token")


def test_a_server_that_is_down_is_not_one_without_metadata(provider: Provider, surroundings: Surroundings) -> None:
    provider.script(OAUTH, [Reply(503)])
    with pytest.raises(RefreshFailed) as caught:
        ask(surroundings, provider.url())
    assert caught.value.retryable


def test_a_server_without_metadata(provider: Provider, surroundings: Surroundings) -> None:
    with pytest.raises(ConfigError, match=r"issuer: 127\.0\.0\.1 publishes no metadata"):
        ask(surroundings, provider.url())


@pytest.mark.parametrize("other", [None, 5, "", "https://evil.example", "{}/", "{}/tenant", "{} "])
def test_metadata_of_another_issuer_are_refused(provider: Provider, surroundings: Surroundings, other: object) -> None:
    named = other.format(provider.url()) if isinstance(other, str) else other
    provider.script(OAUTH, [{**document(provider, ""), "issuer": named}])
    provider.script(OPENID, [document(provider, provider.url())])
    with pytest.raises(ConfigError, match="name another one"):
        ask(surroundings, provider.url())


@pytest.mark.parametrize("url", ["http://example.com/token", "ftp://x", "", 5, [], "https://u:p@example.com/"])
def test_an_endpoint_that_can_t_be_called_is_refused(
    provider: Provider, surroundings: Surroundings, url: object
) -> None:
    provider.script(OAUTH, [{"issuer": provider.url(), "token_endpoint": url}])
    with pytest.raises(ConfigError, match="the server's token_endpoint must"):
        ask(surroundings, provider.url())


def test_a_server_elsewhere_can_t_lead_to_this_machine(surroundings: Surroundings) -> None:
    """It would be handed the client's secret."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"issuer": "https://evil.example", "token_endpoint": "http://127.0.0.1:1/"})

    async def work(context: AuthContext) -> ServerMetadata:
        async with HTTP(transport=httpx2.MockTransport(answer)) as http:
            return await discover(http, "https://evil.example")

    with pytest.raises(ConfigError, match="must not lead to this machine"):
        surroundings.run(work)


def test_the_answer_is_believed_for_an_hour(provider: Provider, surroundings: Surroundings) -> None:
    provider.script(OAUTH, [document(provider, provider.url())])

    async def work(context: AuthContext) -> None:
        for _ in range(3):
            await discover(context.http, provider.url())
        assert len(provider.requests) == 1
        surroundings.clock.advance(timedelta(hours=1))
        await discover(context.http, provider.url())
        assert len(provider.requests) == 2

    surroundings.run(work)


def test_a_failure_isn_t_kept(provider: Provider, surroundings: Surroundings) -> None:
    provider.script(OAUTH, [Reply(500), document(provider, provider.url())])

    async def work(context: AuthContext) -> ServerMetadata:
        with pytest.raises(RefreshFailed):
            await discover(context.http, provider.url())
        return await discover(context.http, provider.url())

    assert surroundings.run(work).issuer == provider.url()
