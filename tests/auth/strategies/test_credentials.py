"""Service credentials in a request: read from where the tenant stored them, and put where the service wants them."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from fusion_store import AuthError, CredentialType, NeedsReauth, ServiceCredentials
from fusion_store.auth import RequestAuth, ServiceConfig
from fusion_store.auth._strategies import built_in
from tests.auth.strategies.surroundings import Surroundings

STRATEGIES = built_in()
SECRETS: dict[str, dict[str, Any]] = {
    "bearer": {"token": "tok"},
    "api_key": {"api_key": "key"},
    "basic_auth": {"username": "bot", "password": "pass"},
    "custom": {"headers": {"X-A": "a"}},
}


def applied(kind: str, data: dict[str, Any], **settings: Any) -> RequestAuth:
    credentials = ServiceCredentials(CredentialType(kind), data)
    return STRATEGIES[kind].apply(ServiceConfig(type=kind, **settings), credentials)


@pytest.mark.parametrize("kind", SECRETS)
def test_the_secret_is_the_stored_credential(kind: str, surroundings: Surroundings) -> None:
    strategy = STRATEGIES[kind]
    assert strategy.credential_type == kind
    assert not strategy.supports_refresh
    assert not strategy.unattended
    with pytest.raises(NeedsReauth, match=f"acme: store {kind} credentials"):
        surroundings.run(lambda context: strategy.authenticate(ServiceConfig(type=kind), context))


def test_a_bearer_token() -> None:
    assert applied("bearer", {"token": "tok"}) == RequestAuth({"Authorization": "Bearer tok"})
    assert applied("bearer", {"token": "tok"}, prefix="token") == RequestAuth({"Authorization": "token tok"})


def test_an_api_key() -> None:
    assert applied("api_key", {"api_key": "key"}) == RequestAuth({"X-API-Key": "key"})
    assert applied("api_key", {"api_key": "key"}, header="authorization") == RequestAuth(
        {"authorization": "Bearer key"}
    )
    assert applied("api_key", {"api_key": "key"}, header="Authorization", prefix="") == RequestAuth(
        {"Authorization": "key"}
    )
    assert applied("api_key", {"api_key": "k&y"}, query="key") == RequestAuth(query={"key": "k&y"})
    assert applied("api_key", {"api_key": "key"}, cookie="key") == RequestAuth(cookies={"key": "key"})


@pytest.mark.parametrize("name", ["bot", "böt"])
@pytest.mark.parametrize("password", ["pass", "p:a:s:s", "", "pässwörd"])
def test_basic_authentication(name: str, password: str) -> None:
    (header,) = applied("basic_auth", {"username": name, "password": password}).headers.values()
    scheme, _, encoded = header.partition(" ")
    assert scheme == "Basic"
    assert b64decode(encoded).decode() == f"{name}:{password}"


def test_a_custom_credential_says_where_each_secret_goes() -> None:
    data = {"headers": {"X-A": "a"}, "query": {"b": "b&"}, "cookies": {"c": "c"}, "note": "not sent"}
    assert applied("custom", data) == RequestAuth({"X-A": "a"}, {"b": "b&"}, {"c": "c"})
    assert applied("custom", {"query": {"b": "b"}}) == RequestAuth(query={"b": "b"})


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("bearer", {}),
        ("bearer", {"token": ""}),
        ("bearer", {"token": 5}),
        ("bearer", {"token": "canary\r\nX-Evil: 1"}),
        ("bearer", {"token": "canary "}),
        ("bearer", {"token": "canary\u2028"}),
        ("api_key", {"key": "canary"}),
        ("api_key", {"api_key": "canary\n"}),
        ("basic_auth", {"username": "canary:", "password": "canary"}),
        ("basic_auth", {"password": "canary"}),
        ("basic_auth", {"username": "canary"}),
        ("basic_auth", {"username": "canary", "password": 5}),
        ("custom", {}),
        ("custom", {"headers": {}}),
        ("custom", {"headers": "canary"}),
        ("custom", {"headers": {"X": 5}}),
        ("custom", {"headers": {"X": "canary\r\nY: z"}}),
        ("custom", {"headers": {"X: canary\r\nY": "z"}}),
        ("custom", {"cookies": {"a": "canary; b=c"}}),
        ("custom", {"cookies": {"a=canary; b": "c"}}),
    ],
)
def test_what_can_t_be_sent_is_refused_and_not_repeated(kind: str, data: dict[str, Any]) -> None:
    with pytest.raises(AuthError) as caught:
        applied(kind, data)
    assert "canary" not in str(caught.value)


def test_what_can_t_stand_in_a_cookie_is_refused() -> None:
    for secret in ("a;b", "a b", 'a"b', "a,b", "a\\b", "a\nb"):
        with pytest.raises(AuthError, match="cookie"):
            applied("api_key", {"api_key": secret}, cookie="key")


@pytest.mark.parametrize("kind", SECRETS)
def test_no_secret_is_shown(kind: str) -> None:
    assert repr(applied(kind, SECRETS[kind])) == "RequestAuth()"
