"""What a token endpoint answers, checked before anybody relies on it (RFC 6749 sections 5.1 and 5.2)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from fusion_store._errors import AuthError, RefreshFailed
from fusion_store._values import OAuthTokenData
from fusion_store.auth._http import Answer
from fusion_store.auth._strategy import GrantRejected
from fusion_store.backend import _limits as limits

MAX_EXPIRES_IN: Final = 2**32 - 1
"""Seconds, 136 years: what providers mean that say "never" in 31 or 32 bits."""

_GRANT_REJECTED: Final = {
    "invalid_grant",
    "bad_refresh_token",  # GitHub
    "interaction_required",  # OpenID Connect: the user has to act
    "login_required",
    "consent_required",
}
_RETRYABLE: Final = {"temporarily_unavailable", "server_error", "slow_down"}
_NEEDS_PROOF: Final = {"dpop", "mac", "pop"}
_is_error_code: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch
_is_visible: Final = re.compile(r"[\x20-\x7e]+").fullmatch


class OAuthRefusal(RefreshFailed):
    """An OAuth error other than those of the grant itself. ``code`` is the error's name, such as ``invalid_client``."""

    def __init__(self, message: str, code: str, *, retryable: bool = False) -> None:
        super().__init__(message, retryable=retryable)
        self.code = code


def read_answer(answer: Answer, service: str) -> dict[str, Any]:
    """The JSON object of a successful answer.

    ``GrantRejected`` when the grant is refused, ``OAuthRefusal`` for every other OAuth error, also one with status 200;
    ``RefreshFailed`` for what is no answer of a token endpoint.
    """
    body = answer.json_object()
    if body is not None and "error" in body:
        raise refusal(body["error"], service)
    if not answer.ok:
        raise RefreshFailed(f"{service}: the provider answered {answer.status}")
    if body is None:
        raise RefreshFailed(f"{service}: the provider's answer isn't a JSON object")
    return body


def refusal(error: object, service: str) -> AuthError:
    """The exception for an OAuth error code; one that is malformed isn't repeated."""
    code = error if isinstance(error, str) and _is_error_code(error) else "unreadable_error"
    message = f"{service}: the provider refused: {code}"
    if code in _GRANT_REJECTED:
        return GrantRejected(message)
    return OAuthRefusal(message, code, retryable=code in _RETRYABLE)


def read_token(
    body: Mapping[str, Any],
    service: str,
    now: datetime,
    *,
    old: OAuthTokenData | None = None,
    requested_scope: tuple[str, ...] = (),
    scope_separator: str = " ",
    default_expires_in: int | None = None,
) -> OAuthTokenData:
    """The token in a successful answer, its expiry counted from ``now``.

    What the answer leaves out comes from ``old``: refresh token and scope (RFC 6749 section 6), and the metadata
    always. Without ``old``, a scope left out is the one that was requested (section 5.1). ``RefreshFailed`` for a
    member that is missing or malformed, naming it and never its value.
    """
    seconds = _expires_in(body.get("expires_in"), service)
    seconds = default_expires_in if seconds is None else seconds
    refresh_token = old.refresh_token if old else None
    if body.get("refresh_token"):
        refresh_token = _token(body["refresh_token"], "refresh_token", service)
    return OAuthTokenData(
        access_token=_token(body.get("access_token"), "access_token", service),
        refresh_token=refresh_token,
        token_type=_token_type(body.get("token_type"), old, service),
        expires_at=None if seconds is None else now + timedelta(seconds=seconds),
        scope=read_scope(body.get("scope"), service, old, requested_scope, scope_separator),
        metadata=dict(old.metadata) if old else {},
    )


def malformed(member: str, service: str) -> RefreshFailed:
    """The exception for an answer whose ``member`` is missing or malformed."""
    return RefreshFailed(f"{service}: the provider's answer has no usable {member}")


def read_seconds(value: object) -> int | None:
    """A whole number of seconds, which some providers send as text; None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value):
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_EXPIRES_IN:
        return None
    return value


def _expires_in(value: object, service: str) -> int | None:
    if value is None:
        return None
    seconds = read_seconds(value)
    if seconds is None:
        raise malformed("expires_in", service)
    return seconds


def _token(value: object, member: str, service: str) -> str:
    """1 byte to 64 KiB of printable ASCII (RFC 6749 appendices A.12 and A.17)."""
    if not isinstance(value, str) or len(value) > limits.MAX_TOKEN_BYTES or not _is_visible(value):
        raise malformed(member, service)
    return value


def _token_type(value: object, old: OAuthTokenData | None, service: str) -> str:
    if value is None:
        return old.token_type if old else "Bearer"
    if not isinstance(value, str) or len(value) > limits.MAX_TOKEN_TYPE_CHARS or not _is_visible(value):
        raise malformed("token_type", service)
    if value.lower() in _NEEDS_PROOF:
        raise RefreshFailed(f"{service}: the provider's token is no bearer token")
    return "Bearer" if value.lower() == "bearer" else value


def read_scope(
    value: object,
    service: str,
    old: OAuthTokenData | None = None,
    requested: tuple[str, ...] = (),
    separator: str = " ",
) -> tuple[str, ...]:
    """The granted scope, as far as the vault holds it: a token is worth more than the tail of a long list."""
    if value is None:
        return old.scope if old else requested
    names = value.replace(separator, " ").split() if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise malformed("scope", service)
    if not names and old is not None:
        return old.scope
    fitting = (name for name in names if len(name) <= limits.MAX_SCOPE_CHARS and re.fullmatch(r"[!-~]+", name))
    return tuple(fitting)[: limits.MAX_SCOPES]
