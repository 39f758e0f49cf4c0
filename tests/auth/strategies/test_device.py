"""Consent on another device: RFC 8628, with a provider that doesn't keep to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fusion_store import AuthError, ConfigError, NeedsReauth, OAuthTokenData, RefreshFailed
from fusion_store.auth import DevicePrompt, GrantRejected, ServiceConfig
from fusion_store.auth._strategies import built_in
from tests.auth.provider import Answer, Provider, Reply
from tests.auth.strategies.surroundings import Surroundings

DEVICE = built_in()["oauth2_device"]
PENDING = Reply(400, {"error": "authorization_pending"})
SLOW_DOWN = Reply(400, {"error": "slow_down"})
TOKEN = {"access_token": "a", "refresh_token": "r", "token_type": "Bearer", "expires_in": 3600}


def config(provider: Provider, **settings: Any) -> ServiceConfig:
    return ServiceConfig(
        type="oauth2_device",
        client_id="me",
        token_url=provider.url("/token"),
        device_authorization_url=provider.url("/device"),
        **settings,
    )


def authorization(provider: Provider, **changes: Any) -> dict[str, Any]:
    answer = {
        "device_code": "the device code",
        "user_code": "WDJB-MJHT",
        "verification_uri": provider.url("/device/enter"),
        "verification_uri_complete": provider.url("/device/enter?code=WDJB-MJHT"),
        "expires_in": 900,
        "interval": 5,
        **changes,
    }
    return {name: value for name, value in answer.items() if value is not ...}


def sign_in(provider: Provider, surroundings: Surroundings, answers: list[Answer], **changes: Any) -> OAuthTokenData:
    provider.script("/device", [authorization(provider, **changes)])
    provider.script("/token", answers)
    return surroundings.run(lambda context: DEVICE.authenticate(config(provider), context))


def test_the_user_is_shown_the_code_and_both_uris(provider: Provider, surroundings: Surroundings) -> None:
    asked_at = surroundings.clock.now
    token = sign_in(provider, surroundings, [PENDING, TOKEN])
    assert (token.access_token, token.refresh_token) == ("a", "r")
    assert token.expires_at == surroundings.clock.now + timedelta(hours=1)
    assert surroundings.prompts == [
        DevicePrompt(
            service="acme",
            user_code="WDJB-MJHT",
            verification_uri=provider.url("/device/enter"),
            verification_uri_complete=provider.url("/device/enter?code=WDJB-MJHT"),
            expires_at=asked_at + timedelta(seconds=900),
        )
    ]
    assert "the device code" not in repr(surroundings.prompts)


def test_what_is_sent(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/device", [authorization(provider)])
    provider.script("/token", [TOKEN])
    settings = {
        "scopes": ("a", "b"),
        "resource": "https://api.acme.example/",
        "authorization_parameters": {"audience": "x"},
        "token_parameters": {"timeout": "kept for the provider"},
    }
    surroundings.run(lambda context: DEVICE.authenticate(config(provider, **settings), context))
    asked, polled = provider.requests
    resource = {"resource": "https://api.acme.example/"}
    assert asked.form == {"client_id": "me", "scope": "a b", "audience": "x", **resource}
    assert polled.form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "the device code",
        "client_id": "me",
        "timeout": "kept for the provider",
        **resource,
    }
    assert asked.body.count(b"client_id") == 1


def test_a_client_s_secret_authenticates_both_requests(
    provider: Provider, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_SECRET", "hush")
    provider.script("/device", [authorization(provider)])
    provider.script("/token", [TOKEN])
    with_secret = config(provider, client_secret="env:ACME_SECRET", client_auth="client_secret_post")
    surroundings.run(lambda context: DEVICE.authenticate(with_secret, context))
    for request in provider.requests:
        assert request.form["client_secret"] == "hush"
        assert request.form["client_id"] == "me"


def test_polls_keep_the_interval(provider: Provider, surroundings: Surroundings) -> None:
    sign_in(provider, surroundings, [PENDING, PENDING, TOKEN], interval=7)
    assert surroundings.slept == [7, 7, 7]


def test_a_missing_interval_is_five_seconds(provider: Provider, surroundings: Surroundings) -> None:
    sign_in(provider, surroundings, [PENDING, TOKEN], interval=...)
    assert surroundings.slept == [5, 5]


def test_no_interval_makes_a_busy_loop(provider: Provider, surroundings: Surroundings) -> None:
    sign_in(provider, surroundings, [PENDING, TOKEN], interval=0)
    assert surroundings.slept == [1, 1]


def test_slow_down_adds_five_seconds_for_good(provider: Provider, surroundings: Surroundings) -> None:
    sign_in(provider, surroundings, [SLOW_DOWN, PENDING, SLOW_DOWN, PENDING, TOKEN])
    assert surroundings.slept == [5, 10, 10, 15, 15]


def test_errors_with_status_200_count_too(provider: Provider, surroundings: Surroundings) -> None:
    """GitHub sends them so."""
    sign_in(provider, surroundings, [{"error": "authorization_pending"}, {"error": "slow_down"}, TOKEN])
    assert surroundings.slept == [5, 5, 10]


def test_pauses_double_while_the_provider_is_down(provider: Provider, surroundings: Surroundings) -> None:
    down = Reply(500)
    cut = Reply(json=TOKEN, cut=5)
    sign_in(provider, surroundings, [down, cut, down, down, down, down, PENDING, TOKEN])
    assert surroundings.slept == [5, 10, 20, 40, 60, 60, 60, 5]


def test_a_longer_retry_after_is_kept_to(provider: Provider, surroundings: Surroundings) -> None:
    busy = [Reply(429, headers={"Retry-After": after}) for after in ("33", "1")]
    sign_in(provider, surroundings, [*busy, TOKEN])
    assert surroundings.slept == [5, 33, 20]


def test_the_user_refuses(provider: Provider, surroundings: Surroundings) -> None:
    with pytest.raises(AuthError, match=r"acme: the user refused$"):
        sign_in(provider, surroundings, [PENDING, Reply(400, {"error": "access_denied"}), TOKEN])
    assert len(provider.asked("/token")) == 2


def test_the_code_expires_at_the_provider(provider: Provider, surroundings: Surroundings) -> None:
    with pytest.raises(AuthError, match="the code expired"):
        sign_in(provider, surroundings, [Reply(400, {"error": "expired_token"}), TOKEN])
    assert len(provider.asked("/token")) == 1


@pytest.mark.parametrize("answer", [PENDING, Reply(500), SLOW_DOWN])
def test_the_code_expires_here(provider: Provider, surroundings: Surroundings, answer: Reply) -> None:
    started = surroundings.clock.now
    with pytest.raises(AuthError, match="the code expired"):
        sign_in(provider, surroundings, [answer], expires_in=300)
    assert surroundings.clock.now == started + timedelta(seconds=300)


@pytest.mark.parametrize("code", ["invalid_client", "unsupported_grant_type", "invalid_request"])
def test_other_refusals_end_it(provider: Provider, surroundings: Surroundings, code: str) -> None:
    with pytest.raises(RefreshFailed, match=rf"{code}$") as caught:
        sign_in(provider, surroundings, [Reply(400, {"error": code})])
    assert not caught.value.retryable
    assert len(provider.asked("/token")) == 1


def test_a_device_code_that_isn_t_known(provider: Provider, surroundings: Surroundings) -> None:
    with pytest.raises(GrantRejected):
        sign_in(provider, surroundings, [Reply(400, {"error": "invalid_grant"})])


@pytest.mark.parametrize("answer", [Reply(body=b"<html>"), {}, {"access_token": 5}, Reply(302)])
def test_an_answer_that_is_none_ends_it(provider: Provider, surroundings: Surroundings, answer: Answer) -> None:
    with pytest.raises(RefreshFailed) as caught:
        sign_in(provider, surroundings, [answer])
    assert not caught.value.retryable


UNUSABLE: dict[str, list[object]] = {
    "device_code": [..., None, "", 5, "x" * 2049, "a\nb"],
    "user_code": [..., None, "", 5, "x" * 2049, "a\nb", "\x1b[2Jcanary"],
    "verification_uri": [..., "javascript:alert(1)", "http://canary.example", "", 5, "https://canary.example/\x1b[2J"],
    "verification_uri_complete": ["javascript:alert(1)", "http://canary.example", "", 5],
    "expires_in": [..., None, 0, -1, "abc", 10**12],
    "interval": [-1, "abc", 1.5, [], True],
}


@pytest.mark.parametrize(("member", "value"), [(member, value) for member in UNUSABLE for value in UNUSABLE[member]])
def test_what_can_t_be_shown_or_kept_to_is_refused(
    provider: Provider, surroundings: Surroundings, member: str, value: object
) -> None:
    with pytest.raises(RefreshFailed, match=rf"no usable {member}|no usable verification_url") as caught:
        sign_in(provider, surroundings, [TOKEN], **{member: value})
    assert "canary" not in str(caught.value)
    assert surroundings.prompts == []


def test_google_s_name_for_the_uri(provider: Provider, surroundings: Surroundings) -> None:
    uri = provider.url("/go")
    sign_in(provider, surroundings, [TOKEN], verification_uri=..., verification_url=uri, verification_uri_complete=...)
    (prompt,) = surroundings.prompts
    assert isinstance(prompt, DevicePrompt)
    assert prompt.verification_uri == uri
    assert prompt.verification_uri_complete is None


def test_where_nobody_can_be_asked_the_provider_isn_t_either(provider: Provider, surroundings: Surroundings) -> None:
    with pytest.raises(NeedsReauth):
        surroundings.run(lambda context: DEVICE.authenticate(config(provider), context), asks=False)
    assert provider.requests == []


def test_endpoints_are_discovered(provider: Provider, surroundings: Surroundings) -> None:
    provider.script(
        "/.well-known/oauth-authorization-server",
        [
            {
                "issuer": provider.url(),
                "token_endpoint": provider.url("/token"),
                "device_authorization_endpoint": provider.url("/device"),
            },
        ],
    )
    provider.script("/device", [authorization(provider)])
    provider.script("/token", [TOKEN])
    discovering = ServiceConfig(type="oauth2_device", client_id="me", issuer=provider.url())
    assert surroundings.run(lambda context: DEVICE.authenticate(discovering, context)).access_token == "a"
    assert len(provider.requests) == 3


def test_an_issuer_without_devices(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/.well-known/oauth-authorization-server", [{"issuer": provider.url()}])
    discovering = ServiceConfig(type="oauth2_device", client_id="me", issuer=provider.url())
    with pytest.raises(ConfigError, match="device_authorization_url: neither given nor published"):
        surroundings.run(lambda context: DEVICE.authenticate(discovering, context))
