from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"sqlalchemy", "plyvel", "alembic", "typer", "rich", "pytest", "_pytest", "hypothesis", "click", "platformdirs"}
OURS = {"fusion_store_sql", "fusion_store_leveldb", "fusion_store_memory", "fusion_store_migrations"}


DEAR = {
    "asyncio",
    "concurrent",
    "http",
    "logging",
    "multiprocessing",
    "secrets",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
}


def imported_by(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter imports when it runs ``code``."""
    return {name.partition(".")[0] for name in modules_imported_by(code)}


def modules_imported_by(code: str) -> set[str]:
    """The modules that a fresh interpreter imports when it runs ``code``."""
    run = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}


def test_importing_the_library_loads_no_driver_and_no_framework() -> None:
    imported = imported_by("import fusion_store, fusion_store.backend")

    assert "fusion_store" in imported
    assert imported & (HEAVY | OURS) == set()


def test_importing_the_library_loads_few_modules() -> None:
    """Each takes about half a millisecond; those of the standard library that need many others take more."""
    imported = modules_imported_by("import fusion_store") - modules_imported_by("import msgspec")

    packages = {name.partition(".")[0] for name in imported}
    # The standard library's `copy` looks for Jython's `org`.
    assert packages - sys.stdlib_module_names - {"org"} == {"fusion_store"}
    assert packages & DEAR == set()
    assert len({name for name in imported if name.startswith("fusion_store")}) <= 12


def test_using_the_memory_backend_loads_no_driver() -> None:
    imported = imported_by("import fusion_store; fusion_store.get_repository('memory://').close()")

    assert imported & (HEAVY | OURS) == {"fusion_store_memory"}


def test_listing_the_backends_loads_none() -> None:
    imported = imported_by("from fusion_store._registry import list_backends; list_backends()")

    assert imported & (HEAVY | OURS) == set()


@pytest.mark.parametrize("module", ["fusion_store", "fusion_store.backend", "fusion_store.testing"])
def test_all_that_is_declared_public_is_there(module: str) -> None:
    code = (
        f"import {module} as m; assert sorted(set(m.__all__)) == sorted(m.__all__); [getattr(m, n) for n in m.__all__]"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_lists_what_is_public_whether_loaded_or_not() -> None:
    code = "import fusion_store; assert dir(fusion_store) == sorted(fusion_store.__all__), dir(fusion_store)"

    subprocess.run([sys.executable, "-c", code], check=True)
