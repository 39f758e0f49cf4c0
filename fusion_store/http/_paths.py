"""Which paths need no credentials."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from fusion_store._errors import ConfigError


class PublicPaths:
    """Paths by exact match, and folders by a prefix that ends with a slash."""

    def __init__(self, paths: Sequence[str], prefixes: Sequence[str]) -> None:
        self._paths = frozenset(_checked("public_paths", paths))
        self._prefixes = _checked("public_prefixes", prefixes)
        if not all(prefix.endswith("/") for prefix in self._prefixes):
            raise ConfigError("public_prefixes: must end with /, lest /pub make /publish public")

    def __contains__(self, path: str) -> bool:
        # A path that some later decoding would lead out of its folder isn't in it.
        climbs = bool({".", ".."} & set(re.split(r"[/\\]", unquote(path))))
        return path in self._paths or (path.startswith(self._prefixes) and not climbs)


def _checked(name: str, paths: Sequence[str]) -> tuple[str, ...]:
    checked = tuple(paths)
    if isinstance(paths, str) or not all(path.startswith("/") for path in checked):
        raise ConfigError(f"{name}: must be a sequence of paths that begin with /")
    return checked
