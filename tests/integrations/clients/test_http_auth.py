"""``FusionAuth`` of httpx and httpx2: requests go out with the tenant's secret, and a refused token is renewed once."""

from __future__ import annotations

import asyncio
import io
from datetime import timedelta
from typing import Any

import pytest

from fusion_store import ConfigError, CredentialType, NeedsReauth, OAuthTokenData, RefreshFailed, ServiceCredentials
from fusion_store.auth import AuthManager, BlockingAuthManager
from tests.auth.provider import Reply, Request, running_provider
from tests.integrations.clients.conftest import LIBRARIES, Host, World


def test_a_request_goes_out_with_the_tenants_token(world: World, host: Host) -> None:
    token = world.store()
    answer = host.call(method="POST", content=b"hello")
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert world.served() == [token.access_token]


def test_each_tenant_sends_its_own(world: World, host: Host) -> None:
    first = world.store()
    world.tenant_hash = world.vault.add_api_token().hash
    second = world.store()
    assert host.call().status_code == 200
    assert world.served() == [second.access_token] != [first.access_token]


def test_a_token_about_to_expire_is_renewed_before_the_request(world: World, host: Host) -> None:
    world.store(timedelta(seconds=-1))
    assert host.call().status_code == 200
    assert world.served() == [world.stored().access_token]
    assert (world.provider.refreshes, world.stored().version) == (1, 2)


def test_a_refused_token_is_renewed_once_and_the_request_sent_again(world: World, host: Host) -> None:
    old = world.store()
    world.refused.add(old.access_token)
    answer = host.call(method="POST", content=b"hello")
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert world.served() == [old.access_token, world.stored().access_token]
    assert (world.provider.refreshes, world.stored().version) == (1, 2)


def test_a_second_refusal_is_the_answer(world: World, host: Host) -> None:
    world.store()
    world.provider.script("/api", [Reply(401, {"error": "never"})])
    answer = host.call()
    assert (answer.status_code, answer.json()) == (401, {"error": "never"})
    assert (len(world.served()), world.provider.refreshes) == (2, 1)


def test_a_service_that_refuses_every_token_costs_one_refresh_a_minute(world: World, host: Host) -> None:
    world.store()
    world.provider.script("/api", [Reply(401, {"error": "never"})])
    answers = host.call_one_by_one(5)
    assert [(answer.status_code, answer.json()) for answer in answers] == [(401, {"error": "never"})] * 5
    assert (len(world.served()), world.provider.refreshes) == (6, 1)


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_other_refusals_renew_nothing(world: World, host: Host, status: int) -> None:
    world.store()
    world.provider.script("/api", [Reply(status)])
    assert host.call().status_code == status
    assert (len(world.served()), world.provider.refreshes) == (1, 0)


def test_many_who_are_refused_at_once_renew_once(world: World, host: Host) -> None:
    old = world.store()
    world.refused.add(old.access_token)
    answers = host.call_at_once(12)
    assert {answer.status_code for answer in answers} == {200}
    assert (world.provider.refreshes, world.provider.reuses, world.stored().version) == (1, 0, 2)


def test_a_token_that_somebody_else_has_renewed_meanwhile_is_taken(world: World, host: Host) -> None:
    world.store()

    def renewed_elsewhere(request: Request) -> Reply:
        world.store()
        return Reply(401)

    world.provider.script("/api", [renewed_elsewhere, world._serve])
    assert host.call().status_code == 200
    assert world.served()[1] == world.stored().access_token
    assert (world.provider.refreshes, world.stored().version) == (0, 2)


# Where the secret goes


@pytest.mark.parametrize("place", ["header", "query", "cookie"])
def test_a_token_goes_where_the_service_wants_it_the_second_time_as_well(world: World, host: Host, place: str) -> None:
    world.config = world.make_config("oauth2_external", **{place: "x-token"})
    old = world.store()

    def sent(request: Request) -> Any:
        cookies = dict(pair.split("=", 1) for pair in request.headers.get("cookie", "=").split("; "))
        return {"header": request.headers, "query": request.query, "cookie": cookies}[place].get("x-token")

    world.provider.script("/api", [Reply(401), {"ok": True}])
    assert host.call(params={"page": "2"}, headers={"Cookie": "theme=dark"}).json() == {"ok": True}
    requests = world.provider.asked("/api")
    assert [sent(request) for request in requests] == [old.access_token, world.stored().access_token]
    assert {request.query["page"] for request in requests} == {"2"}
    assert all("theme=dark" in request.headers["cookie"] for request in requests)
    assert all("authorization" not in request.headers for request in requests)


@pytest.mark.parametrize(
    ("kind", "data", "sent"),
    [
        ("bearer", {"token": "t"}, ("authorization", "Bearer t")),
        ("api_key", {"api_key": "k"}, ("x-api-key", "k")),
        ("basic_auth", {"username": "ada", "password": "p"}, ("authorization", "Basic YWRhOnA=")),
        ("custom", {"headers": {"X-One": "1"}}, ("x-one", "1")),
    ],
)
def test_credentials_are_sent_as_well_and_a_refusal_is_the_answer(
    world: World, host: Host, kind: str, data: dict[str, Any], sent: tuple[str, str]
) -> None:
    world.config = world.make_config(kind)
    world.vault.store_credentials(world.tenant_hash, "api", ServiceCredentials(CredentialType(kind), data))
    world.provider.script("/api", [Reply(401), {"never": "asked"}])
    assert host.call().status_code == 401
    assert [request.headers[sent[0]] for request in world.provider.asked("/api")] == [sent[1]]


# Bodies


def test_a_streamed_body_is_sent_whole_both_times(world: World, host: Host) -> None:
    old = world.store()
    world.refused.add(old.access_token)
    answer = host.call(method="POST", content=host.stream(b"one ", b"two ", b"three"))
    assert answer.content == b"one two three"
    assert [request.body for request in world.provider.asked("/api")] == [b"one two three"] * 2


def test_an_uploaded_file_is_sent_whole_both_times(world: World, host: Host) -> None:
    old = world.store()
    world.refused.add(old.access_token)
    # The async clients take no file that blocks; of bytes they make the same body.
    file = io.BytesIO(b"content" * 1000)
    assert host.call(method="POST", files={"file": file}).status_code == 200
    first, second = world.provider.asked("/api")
    assert b"content" * 1000 in first.body
    assert first.body == second.body


# Failures


def test_without_a_token_nothing_is_sent_and_the_user_has_to_consent(world: World, host: Host) -> None:
    with pytest.raises(NeedsReauth):
        host.call()
    assert world.served() == []


def test_when_the_provider_refuses_the_grant_the_user_has_to_consent(world: World, host: Host) -> None:
    old = world.store()
    world.refused.add(old.access_token)
    world.provider.script("/token", [Reply(400, {"error": "invalid_grant"})])
    with pytest.raises(NeedsReauth) as caught:
        host.call()
    assert world.served() == [old.access_token]
    assert old.access_token not in str(caught.value)


def test_when_the_provider_fails_the_caller_may_try_again(world: World, host: Host) -> None:
    old = world.store()
    world.refused.add(old.access_token)
    world.provider.script("/token", [Reply(503, headers={"Retry-After": "7"})])
    with pytest.raises(RefreshFailed) as caught:
        host.call()
    assert (caught.value.retryable, caught.value.retry_after) == (True, 7)


# Redirects


def test_a_refusal_by_another_host_renews_nothing(world: World, host: Host) -> None:
    world.store()
    with running_provider() as elsewhere:
        elsewhere.script("/other", [Reply(401)])
        world.provider.script("/api", [Reply(302, headers={"Location": elsewhere.url("/other")})])
        assert host.call().status_code == 401
        (asked,) = elsewhere.asked("/other")
    assert "authorization" not in asked.headers
    assert world.provider.refreshes == 0


def test_a_refusal_after_a_redirect_on_the_same_host_renews(world: World, host: Host) -> None:
    old = world.store()
    world.refused.add(old.access_token)
    world.provider.script("/from", [Reply(302, headers={"Location": "/api"})])
    assert host.call("/from").status_code == 200
    assert (world.provider.refreshes, len(world.provider.asked("/from"))) == (1, 2)


@pytest.mark.parametrize("place", ["query", "cookie"])
def test_a_refusal_after_a_redirect_that_took_the_token_off_renews_nothing(
    world: World, host: Host, place: str
) -> None:
    world.config = world.make_config("oauth2_external", **{place: "x-token"})
    world.store()
    world.provider.script("/from", [Reply(307, headers={"Location": "/api"})])
    world.provider.script("/api", [Reply(401)])
    assert host.call("/from").status_code == 401
    assert (world.provider.refreshes, len(world.provider.asked("/api"))) == (0, 1)


def test_a_refusal_after_a_detour_that_took_the_token_off_renews_nothing(world: World, host: Host) -> None:
    world.store()
    with running_provider() as elsewhere:
        elsewhere.script("/other", [Reply(302, headers={"Location": world.provider.url("/api")})])
        world.provider.script("/from", [Reply(302, headers={"Location": elsewhere.url("/other")})])
        assert host.call("/from").status_code == 401
    assert (world.served(), world.provider.refreshes) == ([""], 0)


# Hosts


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_of_the_other_kind_is_an_error_that_says_what_it_needs(world: World, library: str) -> None:
    module, auth_class = LIBRARIES[library]
    world.store()
    url = world.provider.url("/api")

    async def in_the_wrong_host() -> None:
        async with AuthManager(world.vault) as manager, module.AsyncClient() as client:
            asynchronous = auth_class(manager.tenant_of(world.tenant_hash), "api", world.config)
            with BlockingAuthManager(world.vault) as blocking_manager, module.Client() as blocking_client:
                blocking = auth_class(blocking_manager.tenant_of(world.tenant_hash), "api", world.config)
                with pytest.raises(ConfigError, match=r"AsyncClient needs a tenant of AuthManager"):
                    await client.get(url, auth=blocking)
                with pytest.raises(ConfigError, match=r"Client needs a tenant of BlockingAuthManager"):
                    blocking_client.get(url, auth=asynchronous)

    asyncio.run(in_the_wrong_host())
    assert world.served() == []


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("tenant", ["0" * 64, None])
def test_what_is_no_handle_is_refused_at_once(library: str, tenant: Any) -> None:
    with pytest.raises(ConfigError, match="handle"):
        LIBRARIES[library][1](tenant, "api")


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_shows_no_secret(world: World, library: str) -> None:
    world.vault.store_oauth_token(world.tenant_hash, "api", OAuthTokenData("secret"))
    with BlockingAuthManager(world.vault) as manager:
        auth = LIBRARIES[library][1](manager.tenant_of(world.tenant_hash), "api", world.config)
        assert repr(auth) == f"FusionAuth(BlockingTenant({world.tenant_hash[:16]!r}), 'api')"
