"""How to authenticate at each service: read from JSON or TOML, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import msgspec

from fusion_store._errors import ConfigError, InvalidInput
from fusion_store._values import Value
from fusion_store.auth._http import is_loopback, url_problem
from fusion_store.auth._references import is_reference, resolve
from fusion_store.backend import _limits as limits

CLIENT_AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post", "none")
LOGIN_FORMATS: Final = ("json", "form")

_URL_FIELDS: Final = (
    "issuer",
    "authorization_url",
    "device_authorization_url",
    "token_url",
    "revocation_url",
    "login_url",
    "refresh_url",
)
_NEEDS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "oauth2_device": (("client_id",), ("device_authorization_url", "issuer"), ("token_url", "issuer")),
    "oauth2_authorization_code": (("client_id",), ("authorization_url", "issuer"), ("token_url", "issuer")),
    "oauth2_client_credentials": (("client_id",), ("client_secret",), ("token_url", "issuer")),
    "session_jwt": (("login_url",), ("token_path", "token_cookie")),
}
"""For each type its needs; any one of a need's fields meets it."""

_RESERVED: Final = frozenset(
    {
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "device_code",
        "grant_type",
        "password",
        "redirect_uri",
        "refresh_token",
        "resource",
        "response_type",
        "scope",
        "state",
    }
)
"""Parameters that are the protocol's, or secrets."""
is_token: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}").fullmatch
"""Matches what can be the name of a header or cookie (RFC 9110 section 5.6.2)."""
_is_absolute_uri: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-\"$-~]+").fullmatch
_is_visible: Final = re.compile(r"[\x20-\x7e]*").fullmatch


class ServiceConfig(Value, frozen=True, forbid_unknown_fields=True):
    """How tenants authenticate at one service. It holds no secret, only where to find them.

    A field that can't be used is ``ConfigError`` that begins with its name. URLs are https, or http to loopback.
    """

    type: str
    """The strategy, such as ``oauth2_device``."""

    client_id: str | None = None
    """The client identifier (RFC 6749 section 2.2), or a reference to it."""
    client_secret: str | None = None
    """Where the client's secret stands: ``env:NAME`` or ``file:PATH``, read at every use."""
    client_auth: str | None = None
    """``client_secret_basic``, ``client_secret_post`` or ``none`` (RFC 7591 section 2).

    None: ``none`` without a secret; with one what the issuer publishes, else ``client_secret_basic``.
    """
    scopes: tuple[str, ...] = ()
    scope_separator: str = " "
    """What separates scopes in answers: a space by the standard, a comma at some."""
    issuer: str | None = None
    """Where endpoints that aren't given are discovered (RFC 8414, OpenID Connect Discovery)."""
    authorization_url: str | None = None
    device_authorization_url: str | None = None
    token_url: str | None = None
    revocation_url: str | None = None
    redirect_uri: str = "http://127.0.0.1/callback"
    """Where the browser comes back to, on loopback; without a port any free one is taken (RFC 8252 section 7.3)."""
    resource: str | None = None
    """What the token is for (RFC 8707)."""
    authorization_parameters: Mapping[str, str] = {}
    """More parameters for the authorization request, in the browser or of a device."""
    token_parameters: Mapping[str, str] = {}
    """More parameters for token requests."""
    expires_in: int | None = None
    """Seconds that a token lives whose answer doesn't say; None: it is taken to live on."""

    header: str | None = None
    """The header that carries the secret; by default ``Authorization``, for API keys ``X-API-Key``."""
    prefix: str | None = None
    """What stands before the secret in its header, a space between; by default ``Bearer`` in ``Authorization``."""
    query: str | None = None
    """The query parameter that carries the secret, in place of a header."""
    cookie: str | None = None
    """The cookie that carries the secret, in place of a header."""

    login_url: str | None = None
    """Where ``session_jwt`` posts the tenant's credentials."""
    login_format: str = "json"
    """``json`` or ``form``."""
    login_fields: Mapping[str, str] = {}
    """Which member of the credentials each member of the request takes; by default all, under their own names."""
    token_path: str | None = None
    """Where the token stands in the answer: names of members, separated by dots."""
    token_cookie: str | None = None
    """The cookie in which the answer sets the token."""
    refresh_url: str | None = None
    """Where a session is prolonged; None: by another login."""
    refresh_token_path: str | None = None
    """Where the refresh token stands in the answer; None: the session's token is its own."""
    refresh_field: str = "refresh_token"
    """The member of the refresh request that takes the refresh token."""
    expires_in_path: str | None = None
    """Where the answer says how many seconds the token lives."""
    expires_at_path: str | None = None
    """Where the answer says when the token expires: Unix seconds, or ISO 8601 with a time zone."""

    options: Mapping[str, Any] = {}
    """For strategies of other packages: whatever they define."""

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_references()
        for name in _URL_FIELDS:
            url = getattr(self, name)
            if url is not None and (problem := url_problem(url)):
                _refuse(name, problem)
        self._check_redirect_uri()
        if self.resource is not None and not _is_absolute_uri(self.resource):
            _refuse("resource", "must be an absolute URI without fragment (RFC 8707 section 2)")
        self._check_placement()
        for name in ("authorization_parameters", "token_parameters"):
            if reserved := _RESERVED.intersection(getattr(self, name)):
                _refuse(name, f"{min(reserved)} has its own field, or belongs to the protocol")
        for need in _NEEDS.get(self.type, ()):
            if all(getattr(self, name) is None for name in need):
                _refuse(need[0], f"{self.type} needs it" + "".join(f", or {name}" for name in need[1:]))

    def _check_references(self) -> None:
        if self.client_secret is not None and not is_reference(self.client_secret):
            _refuse("client_secret", "must be env:NAME or file:PATH, never the secret itself")
        if self.client_id is not None and not (self.client_id and _is_visible(self.client_id)):
            _refuse("client_id", "must be printable ASCII")
        if self.client_auth == "none" and self.client_secret is not None:
            _refuse("client_auth", "is none, but there is a client_secret")
        if self.client_auth not in (None, "none") and self.client_secret is None:
            _refuse("client_secret", f"{self.client_auth} needs it")

    def _check_redirect_uri(self) -> None:
        problem = url_problem(self.redirect_uri)
        parts = urlsplit(self.redirect_uri) if problem is None else None
        if parts is None or parts.scheme != "http" or not is_loopback(parts.hostname or "") or parts.query:
            _refuse("redirect_uri", "must be http on loopback, such as http://127.0.0.1/callback")

    def _check_choices(self) -> None:
        for name, choices in (("client_auth", CLIENT_AUTH_METHODS), ("login_format", LOGIN_FORMATS)):
            value = getattr(self, name)
            if value is not None and value not in choices:
                _refuse(name, f"must be one of {', '.join(choices)}")
        if len(self.scope_separator) != 1:
            _refuse("scope_separator", "must be one character")
        if self.expires_in is not None and self.expires_in < 0:
            _refuse("expires_in", "must not be negative")
        try:
            limits.scopes(self.scopes, "scopes")
        except InvalidInput as error:
            raise ConfigError(str(error)) from None

    def _check_placement(self) -> None:
        given = [name for name in ("header", "query", "cookie") if getattr(self, name) is not None]
        if len(given) > 1:
            _refuse(given[1], f"only one of header, query and cookie; {given[0]} is there too")
        if self.type == "session_jwt" and self.query is not None:
            _refuse("query", "a session's token goes into a header or cookie: URLs end up in logs")
        for name in given:
            if not is_token(getattr(self, name)):
                _refuse(name, "isn't a name that HTTP allows there")
        if self.prefix is not None and not _is_visible(self.prefix):
            _refuse("prefix", "must be printable ASCII")

    def find_client_id(self) -> str:
        """The client identifier; ``ConfigError`` where there is none."""
        if self.client_id is None:
            raise ConfigError(f"client_id: {self.type} needs it")
        return resolve(self.client_id, "client_id") if is_reference(self.client_id) else self.client_id

    def find_client_secret(self) -> str | None:
        """The client's secret, read anew; None where the client has none. ``ConfigError`` when it can't be had."""
        return None if self.client_secret is None else resolve(self.client_secret, "client_secret")


def _refuse(field: str, reason: str) -> NoReturn:
    raise ConfigError(f"{field}: {reason}")


def make_config(settings: Mapping[str, Any], where: str = "", known_types: Collection[str] = ()) -> ServiceConfig:
    """The configuration in a table of settings, a preset's among them.

    ``ConfigError`` names what is wrong by its path below ``where``, and never its value. ``known_types``: the types
    that may be asked for; empty: any.
    """
    from fusion_store.auth._presets import with_preset

    path = f"{where}." if where else ""
    try:
        full = with_preset(settings)
        known = {*ServiceConfig.__struct_fields__}
        for name in full:
            if name not in known:
                fields = ", ".join(sorted({*known, "preset", "directory"}))
                _refuse(str(name), f"unknown; known: {fields}")
        config = msgspec.convert(full, ServiceConfig)
        if known_types and config.type not in known_types:
            _refuse("type", f"unknown; known: {', '.join(sorted(known_types))}")
    except msgspec.ValidationError as error:
        reason = str(error)
    except ConfigError as error:
        raise ConfigError(path + str(error)) from None
    else:
        return config
    raise ConfigError(_described(reason, where))


def _described(reason: str, where: str) -> str:
    """msgspec's "what - at `$.path`" as "path: what"."""
    what, _, place = reason.partition(" - at `$")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", what):
        what, place = "is missing", f".{missing[1]}"
    full = where + place.rstrip("`")
    return f"{full.lstrip('.')}: {what}"
