"""Consent on another device (RFC 8628)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from fusion_store._errors import AuthError, NeedsReauth, RefreshFailed
from fusion_store._values import OAuthTokenData
from fusion_store.auth._config import ServiceConfig
from fusion_store.auth._http import url_problem
from fusion_store.auth._strategies._oauth2 import OAuth2Strategy, endpoint, post_form, request_token, resource, scope
from fusion_store.auth._strategy import AuthContext, DevicePrompt
from fusion_store.auth._tokens import OAuthRefusal, malformed, read_answer, read_seconds

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
DEFAULT_INTERVAL: Final = 5
SLOW_DOWN: Final = 5
LONGEST_BACKOFF: Final = 60
"""Seconds between polls while the provider can't be reached, if its own interval isn't longer."""
_MAX_CHARS: Final = 2048


class _Authorization(NamedTuple):
    """An answer of the device authorization endpoint (section 3.2)."""

    device_code: str
    prompt: DevicePrompt
    interval: int


class Device(OAuth2Strategy):
    """``oauth2_device``: the user enters a code elsewhere while this side polls."""

    type = "oauth2_device"

    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
        """Ask for a code, show it, and poll until the user has decided.

        ``AuthError`` when they refuse, or let the code expire; ``NeedsReauth`` where no user can be asked.
        """
        if context.show is None:
            raise NeedsReauth(f"{context.service}: the user has to consent on a device, and can't be asked")
        authorization = await _request_authorization(config, context)
        await context.prompt(authorization.prompt)
        return await _poll(config, context, authorization)


async def _request_authorization(config: ServiceConfig, context: AuthContext) -> _Authorization:
    url = await endpoint(config, context, "device_authorization_url")
    form = {**config.authorization_parameters, **scope(config.scopes), **resource(config)}
    asked_at = context.clock()
    answer = await post_form(config, context, url, form)
    return _read_authorization(read_answer(answer, context.service), context.service, asked_at)


def _read_authorization(body: Mapping[str, Any], service: str, now: datetime) -> _Authorization:
    expires_in = read_seconds(body.get("expires_in"))
    if not expires_in:
        raise malformed("expires_in", service)
    interval = body.get("interval")
    seconds = DEFAULT_INTERVAL if interval is None else read_seconds(interval)
    if seconds is None:
        raise malformed("interval", service)
    complete = body.get("verification_uri_complete")
    prompt = DevicePrompt(
        service=service,
        user_code=_text(body, "user_code", service),
        # Google calls it verification_url.
        verification_uri=_uri(body, "verification_uri" if "verification_uri" in body else "verification_url", service),
        verification_uri_complete=None if complete is None else _uri(body, "verification_uri_complete", service),
        expires_at=now + timedelta(seconds=expires_in),
    )
    return _Authorization(_text(body, "device_code", service), prompt, max(seconds, 1))


def _text(body: Mapping[str, Any], member: str, service: str) -> str:
    """Printable text: what a terminal shows must not steer it."""
    value = body.get(member)
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_CHARS or not value.isprintable():
        raise malformed(member, service)
    return value


def _uri(body: Mapping[str, Any], member: str, service: str) -> str:
    uri = _text(body, member, service)
    if url_problem(uri) is not None:
        raise malformed(member, service)
    return uri


async def _poll(config: ServiceConfig, context: AuthContext, authorization: _Authorization) -> OAuthTokenData:
    """Poll at the provider's interval, which ``slow_down`` lengthens (section 3.5), until the code expires.

    While the provider can't be reached the pauses double, and a longer ``Retry-After`` is kept to.
    """
    service, expires_at = context.service, authorization.prompt.expires_at
    interval: float = authorization.interval
    failures, asked_to_wait = 0, 0.0
    while True:
        backoff = min(interval * 2**failures, max(interval, LONGEST_BACKOFF))
        await _sleep_until_expiry(context, max(backoff, asked_to_wait), expires_at)
        try:
            return await request_token(config, context, DEVICE_GRANT, device_code=authorization.device_code)
        except OAuthRefusal as refusal:
            failures, asked_to_wait = 0, 0.0
            if refusal.code == "slow_down":
                interval += SLOW_DOWN
            elif refusal.code == "access_denied":
                raise AuthError(f"{service}: the user refused") from None
            elif refusal.code == "expired_token":
                raise _expired(service) from None
            elif refusal.code != "authorization_pending" and not refusal.retryable:
                raise
        except RefreshFailed as failure:
            if not failure.retryable:
                raise
            failures, asked_to_wait = min(failures + 1, 16), failure.retry_after or 0.0


async def _sleep_until_expiry(context: AuthContext, seconds: float, expires_at: datetime) -> None:
    """Sleep; ``AuthError`` when the code expires before the next poll could be sent."""
    left = (expires_at - context.clock()) / timedelta(seconds=1)
    await context.sleep(max(0.0, min(seconds, left)))
    if seconds >= left or context.clock() >= expires_at:
        raise _expired(context.service)


def _expired(service: str) -> AuthError:
    return AuthError(f"{service}: the code expired before the user had entered it: ask for a new one")
