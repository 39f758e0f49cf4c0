"""Bearer tokens in HTTP: what a request presents, and what it is answered when that isn't enough (RFC 6750)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from fusion_store._errors import ConfigError

MAX_HEADER_BYTES: Final = 8192
RETRY_AFTER_SECONDS: Final = 5

# RFC 6750 section 2.1; the scheme's case doesn't matter (RFC 9110 section 11.1).
_CREDENTIALS: Final = re.compile(rb"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)
_SCHEME: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?: .*)?", re.DOTALL)
_JOINED: Final = re.compile(rb",[ \t]*bearer(?: |$)", re.IGNORECASE)
_REALM: Final = re.compile(r"[ !#-\[\]-~]*")
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+")  # scope-token in RFC 6749 section 3.3
_METADATA_URL: Final = re.compile(r"https?://[!#-\[\]-~]+")


@dataclass(frozen=True)
class Refusal:
    """Why a request goes no further: a status, and for the client an error code with a sentence."""

    status: int
    error: str = ""
    description: str = ""
    scope: str = ""
    retry_after: int = 0


MISSING: Final = Refusal(401)
INVALID_TOKEN: Final = Refusal(401, "invalid_token", "The access token is unknown, expired or revoked")
UNAVAILABLE: Final = Refusal(
    503, "temporarily_unavailable", "The access token can't be checked now", retry_after=RETRY_AFTER_SECONDS
)


def _malformed(description: str) -> Refusal:
    return Refusal(400, "invalid_request", description)


def insufficient_scope(scopes: Sequence[str]) -> Refusal:
    """The token lives, but not all of ``scopes`` were granted to it."""
    return Refusal(403, "insufficient_scope", "The access token lacks a scope", scope=" ".join(scopes))


def too_many_requests(seconds: int) -> Refusal:
    """429 (RFC 6585 section 4)."""
    return Refusal(429, "too_many_requests", "The rate limit is used up", retry_after=seconds)


def presented_token(authorization: Sequence[bytes], query: bytes) -> str | Refusal | None:
    """The bearer token among a request's ``Authorization`` header values; None where it presents nothing.

    Another scheme, or a token in the query alone (RFC 6750 section 2.3, not supported), is answered like
    missing credentials (section 3.1); a second header, a second method, more than 8 KiB or what isn't
    ``Bearer`` with one token is malformed. A second header may have been joined to the first one with a comma
    (RFC 9110 section 5.3), as WSGI's servers do.
    """
    in_query = any(unquote_to_bytes(part.partition(b"=")[0]) == b"access_token" for part in query.split(b"&"))
    if not authorization:
        return MISSING if in_query else None
    if len(authorization) > 1:
        return _malformed("More than one Authorization header")
    value = authorization[0].strip(b" \t")
    if len(value) > MAX_HEADER_BYTES:
        return _malformed("The Authorization header is longer than 8 KiB")
    if found := _CREDENTIALS.fullmatch(value):
        return _malformed("The access token is sent twice") if in_query else found[1].decode()
    scheme = _SCHEME.fullmatch(value)
    if scheme and scheme[1].lower() != b"bearer" and not _JOINED.search(value):
        return MISSING
    return _malformed("The Authorization header is malformed")


def checked_scopes(scopes: Sequence[str], name: str = "scopes") -> tuple[str, ...]:
    """``scopes``, if each can stand in a challenge; else ``ConfigError``."""
    checked = tuple(scopes)
    if isinstance(scopes, str) or not all(isinstance(scope, str) and _SCOPE.fullmatch(scope) for scope in checked):
        raise ConfigError(f"{name}: must be a sequence of scope tokens (RFC 6749 section 3.3)")
    return checked


@dataclass(frozen=True)
class Challenge:
    """How this server asks for credentials: the realm, and where its metadata lies (RFC 9728)."""

    realm: str
    resource_metadata: str | None

    def __post_init__(self) -> None:
        if not _REALM.fullmatch(self.realm):
            raise ConfigError("realm: must be printable ASCII without quotation marks and backslashes")
        if self.resource_metadata is not None and not _METADATA_URL.fullmatch(self.resource_metadata):
            raise ConfigError("resource_metadata: must be the http(s) URL of the resource's metadata (RFC 9728)")

    def authenticate(self, refusal: Refusal) -> str:
        """The value of ``WWW-Authenticate`` (RFC 6750 section 3, RFC 9728 section 5.1)."""
        parameters = {
            "realm": self.realm,
            "error": refusal.error,
            "error_description": refusal.description,
            "scope": refusal.scope,
            "resource_metadata": self.resource_metadata,
        }
        return "Bearer " + ", ".join(
            f'{name}="{value}"' for name, value in parameters.items() if value or name == "realm"
        )

    def headers(self, refusal: Refusal) -> dict[str, str]:
        """The headers of the answer that concern authentication."""
        headers = {"cache-control": "no-store"}
        if refusal.status in (400, 401, 403):
            headers["www-authenticate"] = self.authenticate(refusal)
        if refusal.retry_after:
            headers["retry-after"] = str(refusal.retry_after)
        return headers

    def response(self, refusal: Refusal) -> tuple[dict[str, str], bytes]:
        """Headers and body of the answer; the body is a JSON object, or empty where nothing was presented."""
        body = b""
        headers = self.headers(refusal)
        if refusal.error:
            body = json.dumps({"error": refusal.error, "error_description": refusal.description}).encode()
            headers["content-type"] = "application/json"
        return headers | {"content-length": str(len(body))}, body
