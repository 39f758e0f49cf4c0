"""The configuration file of services."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from fusion_store._errors import ConfigError, InvalidInput
from fusion_store.auth._config import ServiceConfig, make_config
from fusion_store.auth._references import beside
from fusion_store.auth._strategies import find_strategies
from fusion_store.auth._strategy import Strategy
from fusion_store.backend import _limits as limits

MAX_FILE_BYTES: Final = 1024 * 1024


def load_services(
    path: str | PathLike[str], *, strategies: Mapping[str, Strategy] | None = None
) -> dict[str, ServiceConfig]:
    """The services in a file: in its table ``services``, one table for each.

    The file is JSON or TOML by the end of its name. A relative ``file:`` reference is taken from the file's folder.
    ``strategies``: by type, those that may be asked for; by default all that are installed. ``ConfigError`` names what
    is wrong by its path, such as ``services.github.token_url``.
    """
    known = find_strategies() if strategies is None else strategies
    file = Path(path)
    tables = _services(_read(file))
    services = {}
    for name, settings in tables.items():
        where = f"services.{name}"
        try:
            limits.service_name(name, "its name")
        except InvalidInput as error:
            raise ConfigError(f"services.{name!r}: {error}") from None
        if not isinstance(settings, dict):
            raise ConfigError(f"{where}: must be a table")
        services[name] = make_config(_with_paths(settings, file.absolute().parent), where, known)
    return services


def _with_paths(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    named = {"client_id", "client_secret"}
    return {
        key: beside(value, folder) if key in named and isinstance(value, str) else value
        for key, value in settings.items()
    }


def _services(document: object) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ConfigError("the configuration must be a table with services")
    for name in document:
        if name != "services":
            raise ConfigError(f"{name}: unknown; known: services")
    services = document.get("services", {})
    if not isinstance(services, dict):
        raise ConfigError("services: must be a table")
    return services


def _read(file: Path) -> object:
    kind = file.suffix.lower()
    if kind not in (".json", ".toml"):
        raise ConfigError(f"{file.name}: the name must end in .json or .toml")
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{file}: has more than {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode()
        return tomllib.loads(text) if kind == ".toml" else json.loads(text, object_pairs_hook=_without_twins)
    except json.JSONDecodeError as error:
        place = f"at line {error.lineno}, column {error.colno}"
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\((at [^()]*)\)$", str(error))
        place = found[1] if found else "as a whole"
    except UnicodeDecodeError:
        place = "since it isn't UTF-8"
    except RecursionError:
        place = "since it is nested too deeply"
    # Not within the handlers: the parsers' errors hold the text.
    raise ConfigError(f"{file}: can't be read as {kind[1:].upper()} {place}")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ConfigError(f"{next(name for name in names if names.count(name) > 1)}: stands twice in one object")
    return result
