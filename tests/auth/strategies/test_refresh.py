"""Refresh, revocation and the host's own tokens, over a real connection."""

from __future__ import annotations

import base64
import logging
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

import pytest

from fusion_store import ConfigError, OAuthTokenData, RefreshFailed
from fusion_store.auth import GrantRejected, RequestAuth, ServiceConfig
from fusion_store.auth._strategies import built_in
from tests.auth.provider import Provider, Reply
from tests.auth.strategies.surroundings import Surroundings

STRATEGIES = built_in()
REFRESHING = ["oauth2_device", "oauth2_authorization_code", "oauth2_external"]
CODE = STRATEGIES["oauth2_authorization_code"]
HOST = STRATEGIES["oauth2_client_credentials"]


def config(provider: Provider, kind: str = "oauth2_authorization_code", **settings: Any) -> ServiceConfig:
    return ServiceConfig(
        type=kind,
        client_id="me",
        token_url=provider.url("/token"),
        authorization_url=provider.url("/authorize"),
        device_authorization_url=provider.url("/device"),
        **settings,
    )


def granted(provider: Provider, **fields: Any) -> OAuthTokenData:
    grant = provider.grant()
    return OAuthTokenData(grant["access_token"], grant["refresh_token"], **fields)


@pytest.mark.parametrize("kind", REFRESHING)
def test_a_refresh_rotates(provider: Provider, surroundings: Surroundings, kind: str) -> None:
    old = granted(provider, scope=("a",), metadata={"k": "v"}, expires_at=surroundings.clock.now)
    strategy = STRATEGIES[kind]
    assert strategy.supports_refresh
    new = surroundings.run(lambda context: strategy.refresh(config(provider, kind), old, context), asks=False)
    assert provider.is_live(new.access_token)
    assert new.refresh_token not in (None, old.refresh_token)
    assert new.expires_at == surroundings.clock.now + timedelta(hours=1)
    assert (new.scope, new.metadata) == (("a",), {"k": "v"})
    assert provider.requests[0].form == {
        "grant_type": "refresh_token",
        "refresh_token": old.refresh_token,
        "client_id": "me",
    }


def test_a_spent_refresh_token_is_rejected(provider: Provider, surroundings: Surroundings) -> None:
    old = granted(provider)
    new = surroundings.run(lambda context: CODE.refresh(config(provider), old, context))
    with pytest.raises(GrantRejected, match=r"invalid_grant$"):
        surroundings.run(lambda context: CODE.refresh(config(provider), old, context))
    assert (provider.refreshes, provider.reuses) == (2, 1)
    assert not provider.is_live(new.access_token)


def test_nothing_refreshes_by_itself(provider: Provider, surroundings: Surroundings) -> None:
    """Authlib would, were it given a token."""
    expired = granted(provider, expires_at=surroundings.clock.now - timedelta(days=1))
    provider.script("/revoke", [{}])
    revoking = config(provider, revocation_url=provider.url("/revoke"))
    surroundings.run(lambda context: CODE.revoke(revoking, expired, context))
    assert provider.refreshes == 0


@pytest.mark.parametrize(
    ("answer", "retryable"),
    [
        (Reply(500), True),
        (Reply(429), True),
        (Reply(503, body=b"<html>"), True),
        (Reply(json={"access_token": "a"}, cut=3), True),
        (Reply(body=b"<html>"), False),
        (Reply(json={}), False),
        (Reply(json={"access_token": "a", "expires_in": "abc"}), False),
        (Reply(json=["access_token"]), False),
        (Reply(302, headers={"Location": "https://canary.example"}), False),
        (Reply(400, {"error": "invalid_client", "error_description": "Anwendung „canary“ gibt es nicht\r\n"}), False),
        (Reply(403, body=b"canary"), False),
        (Reply(403, {"access_token": "canary"}), False),
        (Reply(body=b'{"access_token": "' + b"a" * 1024 * 1024 + b'"}'), False),
    ],
)
def test_what_can_go_wrong(provider: Provider, surroundings: Surroundings, answer: Reply, *, retryable: bool) -> None:
    provider.script("/token", [answer])
    with pytest.raises(RefreshFailed) as caught:
        surroundings.run(lambda context: CODE.refresh(config(provider), granted(provider), context))
    assert caught.value.retryable is retryable
    assert "canary" not in str(caught.value)


def test_retry_after_gets_through(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/token", [Reply(429, headers={"Retry-After": "42"})])
    with pytest.raises(RefreshFailed) as caught:
        surroundings.run(lambda context: CODE.refresh(config(provider), granted(provider), context))
    assert caught.value.retry_after == 42


def test_a_refresh_names_its_resource_and_more(provider: Provider, surroundings: Surroundings) -> None:
    more = config(provider, resource="api://acme", token_parameters={"audience": "ä&b=c", "url": "x", "auth": "y"})
    surroundings.run(lambda context: CODE.refresh(more, granted(provider), context))
    form = provider.requests[0].form
    assert form["resource"] == "api://acme"
    assert (form["audience"], form["url"], form["auth"]) == ("ä&b=c", "x", "y")


@pytest.mark.parametrize("client_auth", [None, "client_secret_basic", "client_secret_post"])
def test_a_refresh_token_that_isn_t_ascii_goes_out_as_it_is(
    provider: Provider, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, client_auth: str | None
) -> None:
    """One that was imported, say."""
    monkeypatch.setenv("ACME_SECRET", "hush")
    provider.script("/token", [{"access_token": "a"}])
    secret = {} if client_auth is None else {"client_auth": client_auth, "client_secret": "env:ACME_SECRET"}
    odd = OAuthTokenData("a", "\u00fc &=+\u2020")
    surroundings.run(lambda context: CODE.refresh(config(provider, **secret), odd, context))
    assert provider.requests[0].form["refresh_token"] == odd.refresh_token


def test_secrets_are_in_no_log(
    provider: Provider, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ACME_SECRET", "canary-secret")
    caplog.set_level(logging.DEBUG)
    old = granted(provider)
    secretive = config(provider, client_secret="env:ACME_SECRET")
    new = surroundings.run(lambda context: CODE.refresh(secretive, old, context))
    assert caplog.text
    assert new.refresh_token is not None
    assert old.refresh_token is not None
    for secret in ("canary-secret", old.refresh_token, new.access_token, new.refresh_token):
        assert secret not in caplog.text
    assert base64.b64encode(b"me:canary-secret").decode() not in caplog.text


# The client's authentication


def secret_sent(provider: Provider, surroundings: Surroundings, **settings: Any) -> tuple[str | None, str | None]:
    """The secret in the header and the one in the form."""
    asking = config(provider, "oauth2_client_credentials", client_secret="env:ACME_SECRET", **settings)
    surroundings.run(lambda context: HOST.authenticate(asking, context))
    request = provider.asked("/token")[-1]
    header = request.headers.get("authorization", "")
    # In the header, id and secret are form-encoded (RFC 6749 section 2.3.1).
    in_header = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")[2] if header else None
    return in_header and unquote_plus(in_header), request.form.get("client_secret")


@pytest.fixture
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_SECRET", "hush: +/&=")


@pytest.mark.usefixtures("_secret")
def test_a_client_s_secret_is_sent_as_configured(provider: Provider, surroundings: Surroundings) -> None:
    secret = "hush: +/&="
    assert secret_sent(provider, surroundings) == (secret, None)
    assert secret_sent(provider, surroundings, client_auth="client_secret_basic") == (secret, None)
    assert secret_sent(provider, surroundings, client_auth="client_secret_post") == (None, secret)


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize(
    ("methods", "in_form"),
    [
        (None, False),
        (["client_secret_post"], True),
        (["client_secret_post", "client_secret_basic"], False),
        (["private_key_jwt"], False),
        ("client_secret_post", False),
        ([5], False),
    ],
)
def test_a_client_s_secret_is_sent_as_the_issuer_says(
    provider: Provider, surroundings: Surroundings, methods: object, *, in_form: bool
) -> None:
    document = {"issuer": provider.url(), "token_endpoint": provider.url("/token")}
    provider.script(
        "/.well-known/oauth-authorization-server",
        [{**document, "token_endpoint_auth_methods_supported": methods}],
    )
    discovering = ServiceConfig(
        type="oauth2_client_credentials", client_id="me", client_secret="env:ACME_SECRET", issuer=provider.url()
    )
    surroundings.run(lambda context: HOST.authenticate(discovering, context))
    assert ("client_secret" in provider.asked("/token")[0].form) is in_form


# The host's own token


@pytest.mark.usefixtures("_secret")
def test_the_host_s_own_token(provider: Provider, surroundings: Surroundings) -> None:
    assert HOST.unattended
    assert not HOST.supports_refresh
    asking = config(provider, "oauth2_client_credentials", client_secret="env:ACME_SECRET", scopes=("a", "b"))
    token = surroundings.run(lambda context: HOST.authenticate(asking, context), asks=False)
    assert provider.is_live(token.access_token)
    assert token.refresh_token is None
    assert token.scope == ("a", "b")
    assert provider.requests[0].form == {"grant_type": "client_credentials", "scope": "a b"}


def test_a_secret_that_isn_t_there_is_missed_before_anything_is_sent(
    provider: Provider, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACME_SECRET", raising=False)
    asking = config(provider, "oauth2_client_credentials", client_secret="env:ACME_SECRET")
    with pytest.raises(ConfigError, match="env:ACME_SECRET"):
        surroundings.run(lambda context: HOST.authenticate(asking, context))
    assert provider.requests == []


# Revocation and use


def test_the_refresh_token_is_revoked(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/revoke", [Reply(200)])
    revoking = config(provider, revocation_url=provider.url("/revoke"))
    assert surroundings.run(lambda context: CODE.revoke(revoking, OAuthTokenData("a", "r"), context))
    assert surroundings.run(lambda context: CODE.revoke(revoking, OAuthTokenData("a"), context))
    refresh_token, access_token = provider.requests
    assert refresh_token.form == {"token": "r", "token_type_hint": "refresh_token", "client_id": "me"}
    assert access_token.form == {"token": "a", "token_type_hint": "access_token", "client_id": "me"}


def test_where_a_token_is_revoked_may_be_discovered(provider: Provider, surroundings: Surroundings) -> None:
    document = {"issuer": provider.url(), "revocation_endpoint": provider.url("/revoke")}
    provider.script("/.well-known/oauth-authorization-server", [document, {"issuer": provider.url()}])
    provider.script("/revoke", [Reply(200)])
    revoking = config(provider, issuer=provider.url())
    assert surroundings.run(lambda context: CODE.revoke(revoking, OAuthTokenData("a"), context))
    assert not surroundings.run(lambda context: CODE.revoke(revoking, OAuthTokenData("a"), context))


def test_nothing_is_revoked_where_nothing_can_be(provider: Provider, surroundings: Surroundings) -> None:
    assert not surroundings.run(lambda context: CODE.revoke(config(provider), OAuthTokenData("a"), context))
    assert provider.requests == []


def test_a_revocation_that_fails(provider: Provider, surroundings: Surroundings) -> None:
    provider.script("/revoke", [Reply(503), Reply(400, {"error": "unsupported_token_type"})])
    revoking = config(provider, revocation_url=provider.url("/revoke"))
    for reason in ("503", "unsupported_token_type"):
        with pytest.raises(RefreshFailed, match=reason):
            surroundings.run(lambda context: CODE.revoke(revoking, OAuthTokenData("a"), context))


@pytest.mark.parametrize("kind", [*REFRESHING, "oauth2_client_credentials"])
def test_a_token_goes_where_the_configuration_says(provider: Provider, kind: str) -> None:
    def applied(**settings: Any) -> RequestAuth:
        asking = config(provider, kind, client_secret="env:A", **settings)
        return STRATEGIES[kind].apply(asking, OAuthTokenData("tok"))

    assert applied().headers == {"Authorization": "Bearer tok"}
    assert applied(prefix="token").headers == {"Authorization": "token tok"}
    assert applied(header="X-Token").headers == {"X-Token": "tok"}
    assert applied(header="X-Token", prefix="T").headers == {"X-Token": "T tok"}
    assert applied(query="access_token") == RequestAuth(query={"access_token": "tok"})
    assert applied(cookie="sid") == RequestAuth(cookies={"sid": "tok"})
    assert "tok" not in repr(applied())
