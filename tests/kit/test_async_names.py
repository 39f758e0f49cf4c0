from __future__ import annotations

import inspect
from typing import Any

import pytest

from fusion_store import AsyncTokenRepository, ConfigError, TokenRepository
from fusion_store.auth import AuthManager


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_the_async_vault_has_the_same_names() -> None:
    assert public(AsyncTokenRepository) == public(TokenRepository)
    assert {"__aenter__", "__aexit__"} <= set(dir(AsyncTokenRepository))


def test_what_is_no_repository_is_refused_at_once() -> None:
    url: Any = "sqlite:///vault.db"
    for make in (AsyncTokenRepository, AuthManager):
        with pytest.raises(ConfigError, match="get_repository"):
            make(url)


def test_each_coroutine_takes_the_same_arguments() -> None:
    for name in public(TokenRepository):
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (AsyncTokenRepository, TokenRepository))
        assert list(ours.parameters.values())[1:] == list(theirs.parameters.values())[1:], name
        assert getattr(AsyncTokenRepository, name).__doc__, name


def test_every_operation_of_the_interface_is_abstract_and_documented() -> None:
    assert public(TokenRepository) == TokenRepository.__abstractmethods__
    for name in public(TokenRepository):
        assert getattr(TokenRepository, name).__doc__, name
