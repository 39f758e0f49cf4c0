"""What an authorization server says of itself (RFC 8414, OpenID Connect Discovery 1.0)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from fusion_store._errors import ConfigError, RefreshFailed
from fusion_store._values import Value
from fusion_store.auth._http import HTTP, is_loopback, url_problem

LIFETIME: Final = timedelta(hours=1)
"""How long the answer is believed."""

_OAUTH: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"


class ServerMetadata(Value, frozen=True):
    """The members of a server's metadata that are used here (RFC 8414 section 2); None: not given."""

    issuer: str
    authorization_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    revocation_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    sends_issuer: bool = False
    """Whether every authorization response names its issuer (RFC 9207)."""


async def discover(http: HTTP, issuer: str) -> ServerMetadata:
    """The metadata of ``issuer``, asked for once an hour.

    ``ConfigError`` when there are none, when they name another issuer, or an endpoint that may not be called;
    ``RefreshFailed`` when the server can't be asked.
    """
    known = http.discovered.get(issuer)
    if known is not None and http.clock() < known[0]:
        return known[1]
    for url in _places(issuer):
        document = await _fetch(http, url)
        if document is not None:
            metadata = _read(document, issuer)
            http.discovered[issuer] = (http.clock() + LIFETIME, metadata)
            return metadata
    raise ConfigError(f"issuer: {urlsplit(issuer).hostname} publishes no metadata")


def _places(issuer: str) -> list[str]:
    """Before the issuer's path (RFC 8414 section 3.1), and behind it (OpenID Connect Discovery section 4)."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    paths = [_OAUTH + path, _OPENID + path, path + _OPENID]
    return [urlunsplit((parts.scheme, parts.netloc, each, "", "")) for each in dict.fromkeys(paths)]


async def _fetch(http: HTTP, url: str) -> dict[str, Any] | None:
    """The JSON object there; None where a server has something else, if only its front page."""
    try:
        answer = await http.get(url)
    except RefreshFailed as error:
        if error.retryable:
            raise
        return None
    return answer.json_object() if answer.ok else None


def _read(document: dict[str, Any], issuer: str) -> ServerMetadata:
    if document.get("issuer") != issuer:
        raise ConfigError("issuer: the server's metadata name another one (RFC 8414 section 3.3)")
    methods = document.get("token_endpoint_auth_methods_supported")
    known_methods = tuple(m for m in methods if isinstance(m, str)) if isinstance(methods, list) else None
    return ServerMetadata(
        issuer=issuer,
        authorization_endpoint=_endpoint(document, "authorization_endpoint", issuer),
        device_authorization_endpoint=_endpoint(document, "device_authorization_endpoint", issuer),
        token_endpoint=_endpoint(document, "token_endpoint", issuer),
        revocation_endpoint=_endpoint(document, "revocation_endpoint", issuer),
        token_endpoint_auth_methods_supported=known_methods or ("client_secret_basic",),
        sends_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(document: dict[str, Any], name: str, issuer: str) -> str | None:
    url = document.get(name)
    if url is None:
        return None
    problem = url_problem(url) if isinstance(url, str) else "must be a URL"
    if problem is None and _is_local(url) and not _is_local(issuer):
        problem = "must not lead to this machine"
    if problem is not None:
        raise ConfigError(f"issuer: the server's {name} {problem}")
    assert isinstance(url, str)
    return url


def _is_local(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")
