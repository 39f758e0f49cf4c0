"""Services that need only a client: their endpoints and habits, as their providers document them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from fusion_store._errors import ConfigError

_MICROSOFT: Final = "https://login.microsoftonline.com/{directory}/oauth2/v2.0"

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "microsoft365": {
        "type": "oauth2_device",
        "authorization_url": f"{_MICROSOFT}/authorize",
        "device_authorization_url": f"{_MICROSOFT}/devicecode",
        "token_url": f"{_MICROSOFT}/token",
        # Any port is taken with this name only, not with 127.0.0.1.
        "redirect_uri": "http://localhost",
        # Without offline_access there is no refresh token.
        "scopes": ["offline_access", "User.Read"],
    },
    "google": {
        "type": "oauth2_authorization_code",
        "issuer": "https://accounts.google.com",
        "authorization_url": "https://accounts.google.com/o/oauth2/v2/auth",
        "device_authorization_url": "https://oauth2.googleapis.com/device/code",
        "token_url": "https://oauth2.googleapis.com/token",
        "revocation_url": "https://oauth2.googleapis.com/revoke",
        # Without these there is no refresh token, or only at the first consent.
        "authorization_parameters": {"access_type": "offline", "prompt": "consent"},
        "scopes": ["openid", "email"],
    },
    "github": {
        "type": "oauth2_device",
        "authorization_url": "https://github.com/login/oauth/authorize",
        "device_authorization_url": "https://github.com/login/device/code",
        "token_url": "https://github.com/login/oauth/access_token",
        "scope_separator": ",",
    },
    "oidc": {"type": "oauth2_authorization_code", "scopes": ["openid", "offline_access"]},
}

_POSTS_ITS_SECRET: Final = {"microsoft365", "google", "github"}
"""Providers that document the client's secret in the form only."""


def with_preset(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings over those of the preset that they name; tables of parameters are merged."""
    own = dict(settings)
    name, directory = own.pop("preset", None), own.pop("directory", None)
    if directory is not None and name != "microsoft365":
        raise ConfigError("directory: belongs to the preset microsoft365")
    if name is None:
        return own
    if not isinstance(name, str) or name not in PRESETS:
        raise ConfigError(f"preset: unknown; known: {', '.join(PRESETS)}")
    if directory is not None and not (isinstance(directory, str) and directory):
        raise ConfigError("directory: must be the ID or domain of a Microsoft Entra directory")
    filled: dict[str, Any] = {
        key: value.format(directory=quote(directory or "common", safe="")) if isinstance(value, str) else value
        for key, value in PRESETS[name].items()
    }
    if name in _POSTS_ITS_SECRET and own.get("client_secret") is not None:
        filled["client_auth"] = "client_secret_post"
    parameters = own.get("authorization_parameters")
    if isinstance(parameters, Mapping) and "authorization_parameters" in filled:
        own["authorization_parameters"] = {**filled["authorization_parameters"], **parameters}
    return {**filled, **own}
