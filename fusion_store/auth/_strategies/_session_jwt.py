"""Services that trade a login for a token of their own, mostly a JWT."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec

from fusion_store._errors import ConfigError, NeedsReauth, RefreshFailed
from fusion_store._values import CredentialType, OAuthTokenData
from fusion_store.auth._config import ServiceConfig
from fusion_store.auth._http import Answer
from fusion_store.auth._placement import place
from fusion_store.auth._strategy import AuthContext, GrantRejected, RequestAuth, Secret, Strategy
from fusion_store.auth._tokens import malformed, read_token

MAX_CLAIMS_BYTES: Final = 16 * 1024
_LAST_UNIX_TIME: Final = 253_402_300_799  # the year 9999
_REFUSED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class SessionJWT(Strategy):
    """``session_jwt``: the tenant's ``basic_auth`` or ``custom`` credentials are posted to ``login_url``.

    The token stands in the answer, at ``token_path`` or in ``token_cookie``. Its expiry is what the answer says, else
    the token's claim ``exp`` (RFC 7519 section 4.1.4; read, not verified: the service does that).
    """

    type = "session_jwt"
    supports_refresh = True
    unattended = True

    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
        """Log in; ``NeedsReauth`` without credentials, ``GrantRejected`` when the service refuses them."""
        if config.login_url is None:
            raise ConfigError(f"{context.service}: login_url: {self.type} needs it")
        fields = _login_fields(config, await _credentials(context))
        return await _post(config, context, config.login_url, fields)

    async def refresh(self, config: ServiceConfig, token: OAuthTokenData, context: AuthContext) -> OAuthTokenData:
        """Prolong the session at ``refresh_url``, by its refresh token or by the token itself.

        Without a URL: log in again.
        """
        url = config.refresh_url
        if url is None:
            return await self.authenticate(config, context)
        if config.refresh_token_path is not None and token.refresh_token is not None:
            return await _post(config, context, url, {config.refresh_field: token.refresh_token}, old=token)
        return await _post(config, context, url, {}, old=token, applied=place(config, token.access_token))

    def apply(self, config: ServiceConfig, secret: Secret) -> RequestAuth:
        assert isinstance(secret, OAuthTokenData)
        return place(config, secret.access_token)


async def _credentials(context: AuthContext) -> dict[str, Any]:
    for kind in (CredentialType.BASIC_AUTH, CredentialType.CUSTOM):
        credentials = await context.credentials(kind)
        if credentials is not None:
            return credentials.data
    raise NeedsReauth(f"{context.service}: store basic_auth or custom credentials for this tenant")


def _login_fields(config: ServiceConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    if not config.login_fields:
        return dict(data)
    for member in config.login_fields.values():
        if member not in data:
            raise ConfigError(f"login_fields: the credential has no {member}")
    return {field: data[member] for field, member in config.login_fields.items()}


async def _post(
    config: ServiceConfig,
    context: AuthContext,
    url: str,
    fields: dict[str, Any],
    *,
    old: OAuthTokenData | None = None,
    applied: RequestAuth | None = None,
) -> OAuthTokenData:
    added = applied or RequestAuth()
    asked_at = context.clock()
    is_form = config.login_format == "form"
    answer = await context.http.post(
        url,
        form={name: str(value) for name, value in fields.items()} if is_form else None,
        json=None if is_form else fields,
        headers=added.headers,
        cookies=added.cookies,
    )
    if answer.status in _REFUSED:
        raise GrantRejected(f"{context.service}: the login was refused ({answer.status})")
    if not answer.ok:
        raise RefreshFailed(f"{context.service}: the service answered {answer.status}")
    return _read(config, answer, context.service, asked_at, old)


def _read(
    config: ServiceConfig, answer: Answer, service: str, now: datetime, old: OAuthTokenData | None
) -> OAuthTokenData:
    document = answer.json_object() or {}
    access_token = _find(document, config.token_path)
    if config.token_cookie is not None:
        access_token = answer.cookies.get(config.token_cookie)
    refresh_token = _find(document, config.refresh_token_path)
    if config.refresh_url is not None and config.refresh_token_path is None:
        refresh_token = access_token
    members = {
        "access_token": access_token,
        "refresh_token": refresh_token,
        "expires_in": _find(document, config.expires_in_path),
    }
    token = read_token(members, service, now, old=old, default_expires_in=config.expires_in)
    if members["expires_in"] is not None:
        return token
    expires_at = _find(document, config.expires_at_path)
    said = jwt_expiry(token.access_token) if expires_at is None else _moment(expires_at, service)
    return token if said is None else msgspec.structs.replace(token, expires_at=said)


def _find(document: object, path: str | None) -> Any:
    """What stands at a path of names separated by dots; None where nothing does."""
    if path is None:
        return None
    for name in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _moment(value: object, service: str) -> datetime:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    found = _unix_time(value)
    if found is None:
        raise malformed("expiry", service)
    return found


def _unix_time(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_UNIX_TIME:
        return None
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=value)


def jwt_expiry(token: str) -> datetime | None:
    """The claim ``exp`` of a JWT, unverified; None where there is none that reads, or the token is no JWT."""
    parts = token.split(".")
    if len(parts) != 3 or len(parts[1]) > MAX_CLAIMS_BYTES:
        return None
    try:
        claims = msgspec.json.decode(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return _unix_time(claims.get("exp")) if isinstance(claims, dict) else None
