"""Nothing of another library loads before its adapter is imported, and a missing one says what to install."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import fusion_store.integrations

NEEDS: dict[str, tuple[str, str] | None] = {
    "authlib": None,
    "fastapi": ("fastapi", "fastapi"),
    "fastmcp": ("fastmcp", "fastmcp"),
    "httpx": ("httpx", "httpx"),
    "httpx2": ("httpx2", "auth"),
    "mcp": ("mcp", "mcp"),
    "key_value": ("key_value", "key-value"),
    "opentelemetry": ("opentelemetry", "tracing"),
    "prometheus": ("prometheus_client", "metrics"),
}
"""The library that an adapter can't do without, and the extra that brings it."""

PEERS = {
    "authlib",
    "fastapi",
    "fastmcp",
    "flask",
    "httpx",
    "httpx2",
    "key_value",
    "mcp",
    "opentelemetry",
    "prometheus_client",
    "requests",
    "starlette",
}


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_every_adapter_is_listed_here() -> None:
    found = {module.name for module in pkgutil.iter_modules(fusion_store.integrations.__path__)}
    assert {name for name in found if not name.startswith("_")} == set(NEEDS)


def test_nothing_of_it_loads_unless_imported() -> None:
    everything_else = (
        "fusion_store, fusion_store.auth, fusion_store.http, fusion_store.integrations, fusion_store.layers"
    )
    loaded = set(run(f"import sys, {everything_else}; print(*sys.modules)").split())
    assert "fusion_store.integrations" in loaded
    assert loaded & PEERS == set()
    assert not [name for name in loaded if name.startswith("fusion_store.integrations.")]


@pytest.mark.parametrize(("adapter", "needs"), [(adapter, needs) for adapter, needs in NEEDS.items() if needs])
def test_a_missing_library_says_what_to_install(adapter: str, needs: tuple[str, str]) -> None:
    library, extra = needs
    code = f"import sys; sys.modules[{library!r}] = None\ntry: import fusion_store.integrations.{adapter}\n"
    message = run(code + "except ImportError as error: print(error)")
    assert message == f"{library} isn't installed: pip install 'fusion-store[{extra}]'\n"


@pytest.mark.parametrize("adapter", NEEDS)
def test_all_that_is_declared_public_is_there(adapter: str) -> None:
    run(
        f"from fusion_store.integrations.{adapter} import *; import fusion_store.integrations.{adapter} as m; m.__all__"
    )
