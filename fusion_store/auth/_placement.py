"""Where a service wants its secret: header, query or cookie."""

from __future__ import annotations

import re
from typing import Final

from fusion_store._errors import AuthError
from fusion_store.auth._config import ServiceConfig, is_token
from fusion_store.auth._strategy import RequestAuth

AUTHORIZATION: Final = "Authorization"

_is_header_value: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?").fullmatch
_is_cookie_value: Final = re.compile(r"[!#-+\--:<-\[\]-~]+").fullmatch


def place(config: ServiceConfig, secret: str, *, header: str = AUTHORIZATION) -> RequestAuth:
    """Where the configuration says, else in ``header``.

    In ``Authorization`` it follows ``Bearer`` unless another prefix is given. A secret that can't stand there is
    ``AuthError``: a line break would begin a header of its own.
    """
    if config.query is not None:
        return RequestAuth(query={config.query: secret})
    if config.cookie is not None:
        return RequestAuth(cookies={config.cookie: cookie_value(config.cookie, secret)})
    name = config.header or header
    prefix = config.prefix
    if prefix is None:
        prefix = "Bearer" if name.lower() == AUTHORIZATION.lower() else ""
    return RequestAuth(headers={name: header_value(name, f"{prefix} {secret}" if prefix else secret)})


def header_name(name: str) -> str:
    """``name``, if a header or cookie can have it; else ``AuthError``."""
    if not is_token(name):
        raise AuthError("the credential names a header or cookie that HTTP doesn't allow")
    return name


def cookie_value(name: str, value: str) -> str:
    """``value``, if it can stand in a cookie (RFC 6265 section 4.1.1); else ``AuthError``."""
    if not _is_cookie_value(value):
        raise AuthError(f"the secret can't stand in the cookie {name}")
    return value


def header_value(name: str, value: str) -> str:
    """``value``, if it can stand in a header; else ``AuthError``."""
    if not _is_header_value(value):
        raise AuthError(f"the secret can't stand in the header {name}")
    return value
