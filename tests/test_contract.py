"""Our own backends run exactly the contract that ships for others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from fusion_store.layers import Cipher, Key, Keyring
from fusion_store.testing import ContractStore
from fusion_store.testing.contract import *  # noqa: F403

KEY = Key.generate()
BACKENDS_VARIABLE = "FUSION_STORE_TEST_BACKENDS"


class Case(NamedTuple):
    driver: str | None
    make: Callable[[Path], ContractStore]


def memory(_: Path) -> ContractStore:
    return ContractStore(f"memory://{uuid4().hex}")


def sqlite(folder: Path) -> ContractStore:
    return ContractStore(f"sqlite:///{folder}/vault.db", backup_url=lambda path: f"sqlite:///{path}")


def leveldb(folder: Path) -> ContractStore:
    return ContractStore(
        f"leveldb:///{folder}/vault?lock_timeout=0",
        backup_url=lambda path: f"leveldb:///{path}",
    )


def encrypted(make: Callable[[Path], ContractStore], cipher: str) -> Callable[[Path], ContractStore]:
    """The same store, sealed."""

    def sealed(folder: Path) -> ContractStore:
        return replace(make(folder), options={"encryption_keys": Keyring([KEY], cipher=cipher)})

    return sealed


BACKENDS = {
    "memory": Case(None, memory),
    "sqlite": Case("sqlalchemy", sqlite),
    "leveldb": Case("plyvel", leveldb),
}
CASES = BACKENDS | {
    f"{name}+{suffix}": Case(case.driver, encrypted(case.make, cipher))
    for name, case in BACKENDS.items()
    for suffix, cipher in (("encrypted", Cipher.FERNET), ("aes-gcm", Cipher.AES_256_GCM))
}


def chosen_cases() -> list[str]:
    """The cases named in the environment; else every backend whose driver is installed, and memory sealed too."""
    installed = [name for name, case in CASES.items() if case.driver is None or find_spec(case.driver)]
    named = os.environ.get(BACKENDS_VARIABLE)
    if named is None:
        return [name for name in installed if name in BACKENDS or name.startswith("memory")]
    names = [name.strip() for name in named.split(",")]
    for name in names:
        if name not in installed:
            state = "not installed" if name in CASES else "unknown"
            raise pytest.UsageError(f"{BACKENDS_VARIABLE} names {name!r}, which is {state}; at hand: {installed}")
    return names


@pytest.fixture(params=chosen_cases())
def contract_store(request: pytest.FixtureRequest, tmp_path: Path) -> ContractStore:
    case: str = request.param
    return CASES[case].make(tmp_path)
