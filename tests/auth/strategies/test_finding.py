"""Strategies of this package and of others, with and without the libraries they stand on."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest

from fusion_store import ConfigError, OAuthTokenData, get_repository
from fusion_store.auth import AuthContext, AuthManager, RequestAuth, Secret, ServiceConfig, Strategy
from fusion_store.auth._strategies import built_in, find_strategies

TYPES = [
    "api_key",
    "basic_auth",
    "bearer",
    "custom",
    "oauth2_authorization_code",
    "oauth2_client_credentials",
    "oauth2_device",
    "oauth2_external",
    "session_jwt",
]


class Theirs(Strategy):
    """Another package's."""

    type = "theirs"

    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
        return OAuthTokenData(str(config.options["token"]))

    def apply(self, config: ServiceConfig, secret: Secret) -> RequestAuth:
        return RequestAuth()


class Impostor(Theirs):
    """Has the type of a built-in one."""

    type = "bearer"


INSTANCE = Theirs()
NOT_A_STRATEGY = object()


def registered(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> dict[str, Strategy]:
    entry_point = metadata.EntryPoint(name, value, "fusion_store.strategies")

    def entry_points(**selection: Any) -> metadata.EntryPoints:
        return metadata.EntryPoints([entry_point]).select(**selection)

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    return find_strategies()


def test_the_built_in_types() -> None:
    assert sorted(built_in()) == TYPES
    assert sorted(find_strategies()) == TYPES


@pytest.mark.parametrize("name", ["Theirs", "INSTANCE"])
def test_another_package_s_strategy_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    found = registered(monkeypatch, "theirs", f"{__name__}:{name}")
    assert isinstance(found["theirs"], Theirs)
    assert sorted(found) == sorted([*TYPES, "theirs"])


def test_a_manager_looks_for_what_is_not_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, "theirs", f"{__name__}:Theirs")
    with get_repository("memory://") as vault:
        manager = AuthManager(vault)
        assert isinstance(manager.strategy(ServiceConfig(type="theirs")), Theirs)
        with pytest.raises(ConfigError, match=r"known: .*theirs"):
            manager.strategy(ServiceConfig(type="unknown"))
        with pytest.raises(ConfigError, match="unknown type 'theirs'; known: bearer"):
            AuthManager(vault, {"bearer": built_in()["bearer"]}).strategy(ServiceConfig(type="theirs"))


def test_a_built_in_strategy_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    found = registered(monkeypatch, "bearer", f"{__name__}:Impostor")
    assert type(found["bearer"]) is type(built_in()["bearer"])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("theirs", "no_such_module:Theirs", "can't be loaded: ModuleNotFoundError"),
        ("theirs", f"{__name__}:Missing", "can't be loaded: AttributeError"),
        ("theirs", f"{__name__}:NOT_A_STRATEGY", "is no fusion_store.auth.Strategy"),
        ("other", f"{__name__}:Theirs", "is no fusion_store.auth.Strategy of that type"),
    ],
)
def test_a_strategy_that_can_t_be_had_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        registered(monkeypatch, name, value)
    assert value in str(caught.value)


WITHOUT_LIBRARIES = """
import sys
for name in ("authlib", "httpx2"):
    sys.modules[name] = None
import asyncio
from datetime import UTC, datetime
from fusion_store import ConfigError, CredentialType, OAuthTokenData, ServiceCredentials
from fusion_store.auth import AuthContext, ServiceConfig
from fusion_store.auth._http import HTTP
from fusion_store.auth._strategies import built_in

strategies = built_in()
key = ServiceCredentials(CredentialType.API_KEY, {"api_key": "k"})
assert strategies["api_key"].apply(ServiceConfig(type="api_key"), key).headers == {"X-API-Key": "k"}
url = "http://127.0.0.1:1/"
config = ServiceConfig(type="oauth2_device", client_id="me", token_url=url, device_authorization_url=url)

async def main():
    async def show(prompt): pass
    context = AuthContext("acme", HTTP(), lambda: datetime.now(UTC), asyncio.sleep, None, show)
    device = strategies["oauth2_device"]
    for work in (device.authenticate(config, context), device.refresh(config, OAuthTokenData("a", "r"), context)):
        try:
            await work
        except ConfigError as error:
            print(error)
    try:
        await context.http.get(url)
    except ConfigError as error:
        print(error)

asyncio.run(main())
"""


def test_without_the_libraries_the_extra_is_named_at_the_first_use() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_LIBRARIES],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("pip install 'fusion-store[auth]'" in line for line in lines)


def test_importing_auth_loads_no_library() -> None:
    code = "import sys, fusion_store.auth; print(sorted({'authlib', 'httpx2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
