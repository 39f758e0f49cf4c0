"""The ways of authenticating: those built in, and those of installed packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fusion_store._errors import ConfigError
from fusion_store.auth._strategies._authorization_code import AuthorizationCode
from fusion_store.auth._strategies._client_credentials import ClientCredentials
from fusion_store.auth._strategies._credentials import APIKey, BasicAuth, Bearer, Custom
from fusion_store.auth._strategies._device import Device
from fusion_store.auth._strategies._external import External
from fusion_store.auth._strategies._session_jwt import SessionJWT
from fusion_store.auth._strategy import Strategy

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP: Final = "fusion_store.strategies"


def built_in() -> dict[str, Strategy]:
    """The strategies of this package, by type."""
    strategies: tuple[Strategy, ...] = (
        Device(),
        AuthorizationCode(),
        ClientCredentials(),
        External(),
        Bearer(),
        APIKey(),
        BasicAuth(),
        SessionJWT(),
        Custom(),
    )
    return {strategy.type: strategy for strategy in strategies}


def find_strategies() -> dict[str, Strategy]:
    """The built-in strategies and those under the entry-point group ``fusion_store.strategies``, by type.

    An entry point has its type as name, and names a ``Strategy`` class or instance. One with a built-in type is passed
    over. ``ConfigError`` for one that can't be loaded.
    """
    from importlib.metadata import entry_points

    strategies = built_in()
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        if entry_point.name not in strategies:
            strategies[entry_point.name] = _load(entry_point)
    return strategies


def _load(entry_point: EntryPoint) -> Strategy:
    try:
        found = entry_point.load()
        strategy = found() if isinstance(found, type) else found
    except Exception as error:
        raise ConfigError(
            f"the strategy {entry_point.value!r} of type {entry_point.name!r} can't be loaded: {type(error).__name__}"
        ) from error
    if not isinstance(strategy, Strategy) or strategy.type != entry_point.name:
        raise ConfigError(
            f"{entry_point.value!r}, registered for {entry_point.name!r}, is no fusion_store.auth.Strategy of that type"
        )
    return strategy
