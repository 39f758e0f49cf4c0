"""Reading and redacting store URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from fusion_store._errors import ConfigError

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_MAX_URL_CHARS: Final = 4096


class StoreURL(NamedTuple):
    """A URL's parts, percent-decoded. ``text`` is the URL as given, password included: never show it."""

    text: str
    scheme: str
    username: str | None
    password: str | None
    host: str | None
    port: int | None
    path: str
    query: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> StoreURL:
        """Take a URL apart; ``ConfigError`` when it isn't one. No message holds any part of it but the scheme."""
        if not isinstance(text, str) or not 1 <= len(text) <= _MAX_URL_CHARS:
            raise ConfigError("the store URL must be a string of 1 to 4096 characters")
        if any(ord(c) < 0x20 or 0xD800 <= ord(c) < 0xE000 or ord(c) == 0x7F for c in text):
            raise ConfigError("the store URL must not contain control characters or surrogates")
        scheme, separator, _ = text.partition("://")
        if not separator or not _SCHEME.fullmatch(scheme):
            raise ConfigError("the store URL must begin with a scheme and ://, for example sqlite:///vault.db")
        try:
            parts = urlsplit(text)
            port = parts.port
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict")
            decoded = [_decode(part) for part in (parts.username, parts.password, parts.hostname)]
            path = _decode(parts.path) or ""
        except ValueError:
            raise ConfigError(f"the {scheme} URL is malformed") from None
        if parts.fragment:
            raise ConfigError(f"the {scheme} URL has a fragment: write # as %23")
        if "\0" in path:
            raise ConfigError(f"the {scheme} URL's path contains NUL")
        query = dict(pairs)
        if len(query) != len(pairs):
            raise ConfigError(f"the {scheme} URL names a parameter twice")
        return cls(text, scheme, decoded[0], decoded[1], decoded[2], port, path, query)

    def allow_parameters(self, known: Iterable[str]) -> None:
        """``ConfigError`` listing what is known, when the query holds anything else."""
        names = sorted(known)
        if unknown := sorted(set(self.query) - set(names)):
            shown = ", ".join(name for name in unknown if _SHOWABLE.fullmatch(name))
            raise ConfigError(
                f"unknown parameter in the {self.scheme} URL: {shown or '(unprintable)'}; "
                f"known: {', '.join(names) or 'none'}"
            )

    def file_path(self) -> str:
        """The path of a store on disk: ``scheme:///relative`` or ``scheme:////absolute``.

        ``ConfigError`` when the URL names a host or no path.
        """
        if self.host or self.username or self.port:
            raise ConfigError(
                f"the {self.scheme} URL names a host: write three slashes before a relative path "
                f"({self.scheme}:///name), four before an absolute one"
            )
        if len(self.path) < 2:
            raise ConfigError(f"the {self.scheme} URL names no path")
        return self.path[1:]

    def seconds(self, name: str, default: float) -> float:
        """A query parameter that is a number of seconds from 0 to a day."""
        if name not in self.query:
            return default
        try:
            value = float(self.query[name])
        except ValueError:
            value = -1.0
        if not 0 <= value <= 86_400:
            raise ConfigError(f"{name} in the {self.scheme} URL must be 0 to 86400 seconds")
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A query parameter that is a whole number from ``low`` to ``high``."""
        given = self.query.get(name, str(default))
        if not (given.isascii() and given.isdigit() and len(given) <= 18 and low <= int(given) <= high):
            raise ConfigError(f"{name} in the {self.scheme} URL must be a whole number from {low} to {high}")
        return int(given)

    def choice(self, name: str, known: Iterable[str]) -> str | None:
        """A query parameter that is one of those words; None when it isn't given."""
        names = tuple(known)
        given = self.query.get(name)
        if given is not None and given not in names:
            raise ConfigError(f"{name} in the {self.scheme} URL must be one of: {', '.join(names)}")
        return given


_SHOWABLE: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def redact_url(text: str) -> str:
    """The URL for logs and errors: the password and the values of parameters are hidden.

    However the password was written, escaped or not: where it can't be told from the rest, that is hidden too.
    """
    scheme, separator, rest = text.partition("://") if isinstance(text, str) else ("", "", "")
    if not separator or not _SCHEME.fullmatch(scheme):
        return "[malformed URL]"
    account, at, place = rest.rpartition("@")
    if "?" in account:
        return f"{scheme}://***"
    user, colon, _ = account.partition(":")
    shown = f"{user}:***" if colon and _SHOWABLE.fullmatch(user) else "***"
    place, _, query = place.partition("?")
    names = [pair.partition("=")[0] for pair in query.split("&") if "=" in pair]
    parameters = "?" + "&".join(f"{name}=***" for name in names) if names else ""
    return f"{scheme}://{shown + at if at else ''}{place}{parameters}"


def _decode(part: str | None) -> str | None:
    return None if part is None else unquote(part, errors="strict")
