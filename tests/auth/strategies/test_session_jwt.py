"""Logins that are answered with a token, and the many places where it and its expiry stand."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_store import ConfigError, CredentialType, NeedsReauth, OAuthTokenData, RefreshFailed, ServiceCredentials
from fusion_store.auth import GrantRejected, RequestAuth, ServiceConfig
from fusion_store.auth._strategies import built_in
from fusion_store.auth._strategies._session_jwt import jwt_expiry
from tests.auth.provider import Answer, Provider, Reply
from tests.auth.strategies.surroundings import Surroundings, patient

SESSION = built_in()["session_jwt"]
LOGIN = {"username": "bot", "password": "hush"}


def jwt(claims: object) -> str:
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', body, b"signature"))


def config(provider: Provider, **settings: Any) -> ServiceConfig:
    return ServiceConfig(
        **{"type": "session_jwt", "login_url": provider.url("/login"), "token_path": "token", **settings}
    )


@pytest.fixture
def surroundings() -> Surroundings:
    surroundings = Surroundings()
    surroundings.credentials[CredentialType.BASIC_AUTH] = ServiceCredentials(CredentialType.BASIC_AUTH, LOGIN)
    return surroundings


def log_in(provider: Provider, surroundings: Surroundings, answer: Answer, **settings: Any) -> OAuthTokenData:
    provider.script("/login", [answer])
    return surroundings.run(lambda context: SESSION.authenticate(config(provider, **settings), context), asks=False)


def test_it_needs_no_user() -> None:
    assert SESSION.unattended
    assert SESSION.supports_refresh
    assert SESSION.credential_type is None


def test_a_login_in_json(provider: Provider, surroundings: Surroundings) -> None:
    token = log_in(provider, surroundings, {"token": "tok"})
    assert token.access_token == "tok"
    assert token.refresh_token is None
    assert token.expires_at is None
    assert provider.requests[0].json == LOGIN


def test_a_login_by_form(provider: Provider, surroundings: Surroundings) -> None:
    log_in(provider, surroundings, {"token": "tok"}, login_format="form")
    assert provider.requests[0].form == LOGIN


def test_fields_may_have_other_names(provider: Provider, surroundings: Surroundings) -> None:
    log_in(provider, surroundings, {"token": "tok"}, login_fields={"email": "username", "pass": "password"})
    assert provider.requests[0].json == {"email": "bot", "pass": "hush"}
    with pytest.raises(ConfigError, match="login_fields: the credential has no pin"):
        log_in(provider, surroundings, {"token": "tok"}, login_fields={"pin": "pin"})


def test_custom_credentials_are_for_other_logins(provider: Provider, surroundings: Surroundings) -> None:
    data = {"key": "k", "device": {"id": 5}}
    surroundings.credentials = {CredentialType.CUSTOM: ServiceCredentials(CredentialType.CUSTOM, data)}
    log_in(provider, surroundings, {"token": "tok"})
    assert provider.requests[0].json == data


def test_without_credentials_nothing_is_sent(provider: Provider, surroundings: Surroundings) -> None:
    surroundings.credentials.clear()
    with pytest.raises(NeedsReauth, match="store basic_auth or custom credentials"):
        log_in(provider, surroundings, {"token": "tok"})
    assert provider.requests == []


def test_a_token_deep_in_the_answer(provider: Provider, surroundings: Surroundings) -> None:
    answer = {"data": {"session": {"jwt": "tok"}}}
    assert log_in(provider, surroundings, answer, token_path="data.session.jwt").access_token == "tok"


@pytest.mark.parametrize(
    "answer",
    [{}, {"token": None}, {"token": {"a": "canary"}}, {"token": ["canary"]}, Reply(body=b"canary"), {"data": "canary"}],
)
@pytest.mark.parametrize("path", ["token", "token.a.b", "data.token"])
def test_an_answer_without_a_token(provider: Provider, surroundings: Surroundings, answer: Answer, path: str) -> None:
    with pytest.raises(RefreshFailed, match="no usable access_token") as caught:
        log_in(provider, surroundings, answer, token_path=path)
    assert "canary" not in str(caught.value)


def test_a_token_in_a_cookie(provider: Provider, surroundings: Surroundings) -> None:
    answer = Reply(body=b"<html>", headers={"Set-Cookie": "sid=tok; Path=/; HttpOnly; Secure"})
    where = {"token_path": None, "token_cookie": "sid", "cookie": "sid"}
    token = log_in(provider, surroundings, answer, **where)
    assert token.access_token == "tok"
    assert SESSION.apply(config(provider, **where), token) == RequestAuth(cookies={"sid": "tok"})
    with pytest.raises(RefreshFailed, match="no usable access_token"):
        log_in(provider, surroundings, Reply(json={"token": "tok"}), **where)


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_that_is_refused(provider: Provider, surroundings: Surroundings, status: int) -> None:
    with pytest.raises(GrantRejected, match=f"the login was refused \\({status}\\)"):
        log_in(provider, surroundings, Reply(status, {"token": "canary"}))


@pytest.mark.parametrize(("status", "retryable"), [(500, True), (429, True), (400, False), (404, False), (302, False)])
def test_a_login_that_fails(provider: Provider, surroundings: Surroundings, status: int, *, retryable: bool) -> None:
    with pytest.raises(RefreshFailed, match=str(status)) as caught:
        log_in(provider, surroundings, Reply(status, {"token": "canary"}))
    assert caught.value.retryable is retryable
    assert "canary" not in str(caught.value)


# Expiry


def test_expiry_as_a_lifetime(provider: Provider, surroundings: Surroundings) -> None:
    answer = {"token": jwt({"exp": 5}), "meta": {"ttl": "600"}}
    token = log_in(provider, surroundings, answer, expires_in_path="meta.ttl")
    assert token.expires_at == surroundings.clock.now + timedelta(minutes=10)


@pytest.mark.parametrize("value", [1_800_000_000, 1_800_000_000.0, "2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00"])
def test_expiry_as_a_moment(provider: Provider, surroundings: Surroundings, value: object) -> None:
    answer = {"token": jwt({"exp": 5}), "until": value}
    token = log_in(provider, surroundings, answer, expires_at_path="until")
    assert token.expires_at == datetime(2027, 1, 15, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    ["", "tomorrow", "2027-01-15T08:00:00", "0001-01-01T00:00:00+14:00", -1, 1e300, True, [], 253_402_300_800],
)
def test_an_expiry_that_is_no_moment(provider: Provider, surroundings: Surroundings, value: object) -> None:
    with pytest.raises(RefreshFailed, match="no usable expiry"):
        log_in(provider, surroundings, {"token": "tok", "until": value}, expires_at_path="until")


def test_expiry_from_the_token(provider: Provider, surroundings: Surroundings) -> None:
    token = log_in(provider, surroundings, {"token": jwt({"exp": 1_800_000_000})})
    assert token.expires_at == datetime(2027, 1, 15, 8, tzinfo=UTC)
    token = log_in(provider, surroundings, {"token": jwt({"exp": 1_800_000_000})}, expires_at_path="until")
    assert token.expires_at == datetime(2027, 1, 15, 8, tzinfo=UTC)


def test_expiry_from_the_configuration(provider: Provider, surroundings: Surroundings) -> None:
    token = log_in(provider, surroundings, {"token": "tok"}, expires_in=60)
    assert token.expires_at == surroundings.clock.now + timedelta(seconds=60)


@pytest.mark.parametrize(
    "token",
    [
        "tok",
        "a.b",
        "a.b.c.d",
        "a.!!!.c",
        "a.\u00fc.c",
        jwt(b"\xff"),
        jwt(b"[" * 10_000),
        jwt([1]),
        jwt({}),
        jwt({"exp": "soon"}),
        jwt({"exp": True}),
        jwt({"exp": -1}),
        jwt({"exp": 10**30}),
        jwt(b'{"exp": 1e999}'),
        jwt({"exp": 1_800_000_000, "padding": "x" * 16 * 1024}),
    ],
)
def test_a_token_that_says_no_expiry(token: str) -> None:
    assert jwt_expiry(token) is None


@patient
@given(st.text() | st.binary().map(jwt))
def test_any_token_is_looked_at(token: str) -> None:
    assert jwt_expiry(token) is None


# Refresh


def refresh(provider: Provider, surroundings: Surroundings, token: OAuthTokenData, **settings: Any) -> OAuthTokenData:
    return surroundings.run(lambda context: SESSION.refresh(config(provider, **settings), token, context), asks=False)


def test_a_session_is_prolonged_by_its_refresh_token(provider: Provider, surroundings: Surroundings) -> None:
    settings = {
        "token_path": "access",
        "refresh_url": provider.url("/refresh"),
        "refresh_token_path": "refresh",
        "refresh_field": "refresh",
    }
    token = log_in(provider, surroundings, {"access": "a1", "refresh": "r1"}, **settings)
    assert token.refresh_token == "r1"
    provider.script("/refresh", [{"access": "a2"}, {"access": "a3", "refresh": "r2"}])
    token = refresh(provider, surroundings, token, **settings)
    assert (token.access_token, token.refresh_token) == ("a2", "r1")
    token = refresh(provider, surroundings, token, **settings)
    assert (token.access_token, token.refresh_token) == ("a3", "r2")
    request = provider.requests[-1]
    assert request.json == {"refresh": "r1"}
    assert "authorization" not in request.headers


def test_a_session_is_prolonged_by_its_token(provider: Provider, surroundings: Surroundings) -> None:
    settings = {"refresh_url": provider.url("/refresh")}
    token = log_in(provider, surroundings, {"token": "one"}, **settings)
    assert token.has_refresh_token
    provider.script("/refresh", [{"token": "two"}])
    token = refresh(provider, surroundings, token, **settings)
    assert (token.access_token, token.refresh_token) == ("two", "two")
    assert provider.requests[-1].headers["authorization"] == "Bearer one"
    refresh(provider, surroundings, token, cookie="sid", **settings)
    assert provider.requests[-1].headers["cookie"] == "sid=two"


def test_without_a_url_a_session_is_begun_anew(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/login", [{"token": "two"}])
    assert refresh(provider, surroundings, OAuthTokenData("one", "x")).access_token == "two"
    assert provider.requests[0].json == LOGIN


def test_a_refresh_that_is_refused(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/refresh", [Reply(401)])
    with pytest.raises(GrantRejected):
        refresh(provider, surroundings, OAuthTokenData("one", "one"), refresh_url=provider.url("/refresh"))


def test_a_session_s_token_goes_into_no_url(provider: Provider) -> None:
    with pytest.raises(ConfigError, match="query"):
        config(provider, query="token")
