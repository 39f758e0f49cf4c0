"""Putting a secret into a request, whichever HTTP library made it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote_plus, urlencode, urlsplit, urlunsplit

from fusion_store._errors import ConfigError
from fusion_store.auth._strategy import RequestAuth


def add_to_request(request: Any, auth: RequestAuth) -> None:
    """Add headers, query parameters and cookies to a request, in place of equally named ones.

    ``request`` is a request of httpx, httpx2 or Requests (prepared or not), or a dict of keyword arguments for one
    (with ``headers``, ``params`` and ``cookies``). Anything else is ``ConfigError``.
    """
    if isinstance(request, MutableMapping):
        for name, values in (("headers", auth.headers), ("params", auth.query), ("cookies", auth.cookies)):
            if values:
                request[name] = _merged(name, request.get(name) or {}, values)
        return
    if not hasattr(request, "headers") or not hasattr(request, "url"):
        raise ConfigError("this isn't a request of httpx, httpx2 or Requests, nor a dict of arguments for one")
    request.headers.update(auth.headers)
    if auth.query:
        request.url = type(request.url)(_with_query(str(request.url), auth.query))
    if auth.cookies:
        request.headers["Cookie"] = _with_cookies(request.headers.get("Cookie", ""), auth.cookies)


def _merged(name: str, standing: object, added: dict[str, str]) -> dict[str, Any]:
    if not isinstance(standing, Mapping):
        raise ConfigError(f"the request's {name} must be a mapping")
    taken = {key.lower() if name == "headers" else key for key in added}
    kept = {key: value for key, value in standing.items() if (key.lower() if name == "headers" else key) not in taken}
    return {**kept, **added}


def _with_query(url: str, added: dict[str, str]) -> str:
    parts = urlsplit(url)
    # Letter by letter: the rest of the query may be signed.
    kept = [pair for pair in parts.query.split("&") if pair and unquote_plus(pair.partition("=")[0]) not in added]
    return urlunsplit(parts._replace(query="&".join([*kept, urlencode(added)])))


def _with_cookies(header: str, added: dict[str, str]) -> str:
    pairs = [pair.strip() for pair in header.split(";") if pair.strip()]
    kept = [pair for pair in pairs if pair.partition("=")[0] not in added]
    return "; ".join([*kept, *(f"{name}={value}" for name, value in added.items())])
