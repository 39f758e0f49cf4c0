"""What is taken for a token, and what isn't (RFC 6749 sections 5.1 and 5.2)."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_store import AuthError, OAuthTokenData, RefreshFailed, get_repository
from fusion_store.auth import GrantRejected
from fusion_store.auth._http import Answer
from fusion_store.auth._tokens import OAuthRefusal, read_answer, read_token
from fusion_store.testing import ManualClock
from tests.auth.strategies.surroundings import patient

NOW = ManualClock().now
OLD = OAuthTokenData(
    "old access",
    "old refresh",
    "Bearer",
    NOW - timedelta(hours=1),
    ("old", "scope"),
    {"tenant": "contoso"},
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
PLAUSIBLE = st.text("ab \n\0\u00fc", max_size=5) | st.integers(-1, 2**33) | st.lists(st.text(max_size=3), max_size=70)
MEMBERS = ("access_token", "refresh_token", "token_type", "expires_in", "scope")


def read(body: dict[str, Any], old: OAuthTokenData | None = None, **options: Any) -> OAuthTokenData:
    return read_token({"access_token": "new access", **body}, "acme", NOW, old=old, **options)


def answered(status: int, body: object) -> Answer:
    return Answer(status, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_a_whole_answer() -> None:
    token = read({"refresh_token": "r", "token_type": "bearer", "expires_in": 3600, "scope": "a b"})
    assert token.access_token == "new access"
    assert token.refresh_token == "r"
    assert token.token_type == "Bearer"
    assert token.expires_at == NOW + timedelta(hours=1)
    assert token.scope == ("a", "b")
    assert token.metadata == {}


def test_a_refresh_keeps_what_the_answer_leaves_out() -> None:
    token = read({"expires_in": 60}, OLD)
    assert token.refresh_token == "old refresh"
    assert token.scope == ("old", "scope")
    assert token.metadata == {"tenant": "contoso"}
    assert token.token_type == "Bearer"
    assert token.expires_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_refresh_token_and_scope_that_are_empty_are_left_out(nothing: str | None) -> None:
    token = read({"refresh_token": nothing, "scope": nothing}, OLD)
    assert token.refresh_token == "old refresh"
    assert token.scope == ("old", "scope")


def test_a_refresh_takes_what_the_answer_gives() -> None:
    token = read({"refresh_token": "new refresh", "scope": "less"}, OLD)
    assert token.refresh_token == "new refresh"
    assert token.scope == ("less",)
    assert token.metadata == {"tenant": "contoso"}


def test_an_old_expiry_is_not_kept() -> None:
    """It is about the old token, and most likely past."""
    assert read({}, OLD).expires_at is None


def test_a_first_answer_without_scope_grants_what_was_asked() -> None:
    assert read({}, requested_scope=("a", "b")).scope == ("a", "b")
    assert read({"scope": ""}, requested_scope=("a", "b")).scope == ()


def test_the_lifetime_of_the_configuration_is_for_answers_that_name_none() -> None:
    assert read({}, default_expires_in=60).expires_at == NOW + timedelta(seconds=60)
    assert read({"expires_in": 0}, default_expires_in=60).expires_at == NOW


@pytest.mark.parametrize(
    ("given_", "seconds"), [(3600, 3600), ("3600", 3600), (3600.0, 3600), (0, 0), (2**31 - 1, 2**31 - 1)]
)
def test_usable_lifetimes(given_: object, seconds: int) -> None:
    assert read({"expires_in": given_}).expires_at == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        "abc",
        "",
        "-1",
        "1e3",
        "NaN",
        "٣",
        " 60",
        "60.5",
        -1,
        2**32,
        10**30,
        "9" * 30,
        59.5,
        math.inf,
        math.nan,
        True,
        [],
        {},
    ],
)
def test_unusable_lifetimes_are_refused(value: object) -> None:
    with pytest.raises(RefreshFailed, match="expires_in") as caught:
        read({"expires_in": value})
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "value", [None, "", 5, True, [], {}, "line\nbreak", "nul\0", "ü", "\ud800", "x" * (64 * 1024 + 1)]
)
def test_unusable_access_tokens_are_refused(value: object) -> None:
    with pytest.raises(RefreshFailed, match="access_token"):
        read({"access_token": value})


@pytest.mark.parametrize("value", [5, True, ["r"], {"r": 1}, "line\nbreak", "x" * (64 * 1024 + 1)])
def test_unusable_refresh_tokens_are_refused(value: object) -> None:
    with pytest.raises(RefreshFailed, match="refresh_token"):
        read({"refresh_token": value}, OLD)


@pytest.mark.parametrize("value", ["DPoP", "mac", "PoP"])
def test_tokens_that_need_a_proof_are_refused(value: str) -> None:
    with pytest.raises(RefreshFailed, match="no bearer token"):
        read({"token_type": value})


@pytest.mark.parametrize("value", [5, "", "x" * 200, "ü", "a\r\nb"])
def test_unusable_token_types_are_refused(value: object) -> None:
    with pytest.raises(RefreshFailed, match="token_type"):
        read({"token_type": value})


@pytest.mark.parametrize("value", [5, {"a": 1}, [1], True])
def test_unusable_scopes_are_refused(value: object) -> None:
    with pytest.raises(RefreshFailed, match="scope"):
        read({"scope": value})


def test_scopes_may_be_a_list_or_separated_otherwise() -> None:
    assert read({"scope": ["a", "b"]}).scope == ("a", "b")
    assert read({"scope": "repo,gist"}, scope_separator=",").scope == ("repo", "gist")
    assert read({"scope": "repo,gist"}).scope == ("repo,gist",)


def test_a_long_list_of_scopes_costs_no_token() -> None:
    """Microsoft may list more than the vault holds, and the old refresh token has died."""
    names = ["x" * 129, *(f"s{n}" for n in range(100))]
    assert read({"scope": " ".join(names)}).scope == tuple(f"s{n}" for n in range(64))


@patient
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, JSON_VALUES | PLAUSIBLE)), st.booleans())
def test_whatever_comes_is_refused_or_can_be_stored(body: dict[str, Any], is_refresh: bool) -> None:
    """A token that the vault refuses would be lost with its refresh token."""
    with suppress(RefreshFailed), get_repository("memory://") as vault:
        token = read_token(body, "acme", NOW, old=OLD if is_refresh else None)
        vault.store_oauth_token(vault.add_api_token().hash, "acme", token)


@patient
@given(st.text(min_size=1), st.sampled_from(MEMBERS))
def test_no_value_is_repeated(value: str, member: str) -> None:
    canary = f"canary {value}\n"
    with pytest.raises(AuthError) as caught:
        read({member: {"nested": canary}})
    assert "canary" not in str(caught.value)


# Errors


def test_a_rejected_grant() -> None:
    for status in (400, 401, 200):
        with pytest.raises(GrantRejected, match="acme: the provider refused: invalid_grant"):
            read_answer(answered(status, {"error": "invalid_grant", "error_description": "canary"}), "acme")


@pytest.mark.parametrize("code", ["bad_refresh_token", "interaction_required", "login_required", "consent_required"])
def test_other_names_for_a_grant_that_is_gone(code: str) -> None:
    with pytest.raises(GrantRejected):
        read_answer(answered(400, {"error": code}), "acme")


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type"])
def test_other_refusals_name_their_code(code: str) -> None:
    with pytest.raises(OAuthRefusal, match=rf"acme: the provider refused: {code}$") as caught:
        read_answer(answered(401, {"error": code, "error_description": "canary"}), "acme")
    assert caught.value.code == code
    assert not caught.value.retryable


@pytest.mark.parametrize("code", ["temporarily_unavailable", "server_error"])
def test_refusals_that_pass(code: str) -> None:
    with pytest.raises(RefreshFailed) as caught:
        read_answer(answered(400, {"error": code}), "acme")
    assert caught.value.retryable


@pytest.mark.parametrize("code", [None, 5, {}, ["canary"], "", "canary canary", "canary\n", "c" * 65])
def test_an_error_code_that_is_none_isn_t_repeated(code: object) -> None:
    with pytest.raises(OAuthRefusal, match=r"unreadable_error$"):
        read_answer(answered(400, {"error": code}), "acme")


@pytest.mark.parametrize(
    "body", [b"", b"<html>canary</html>", b"[1]", b'"canary"', b"null", b'{"a": ', b"\xff", b"[" * 100_000]
)
def test_what_is_no_json_object_is_no_answer(body: bytes) -> None:
    for status in (200, 400):
        with pytest.raises(RefreshFailed) as caught:
            read_answer(answered(status, body), "acme")
        assert "canary" not in str(caught.value)
        assert not caught.value.retryable


def test_a_refusal_without_a_code_names_the_status() -> None:
    with pytest.raises(RefreshFailed, match=r"answered 403$"):
        read_answer(answered(403, {"message": "canary"}), "acme")


@patient
@given(st.binary())
def test_any_body_is_an_object_or_refused(body: bytes) -> None:
    with suppress(AuthError):
        assert isinstance(read_answer(answered(200, body), "acme"), dict)
