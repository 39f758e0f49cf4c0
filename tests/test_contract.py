"""Our own backends run exactly the contract that ships for others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from fusion_store.layers import Cipher, Key, Keyring
from fusion_store.testing import ContractStore
from fusion_store.testing.contract import *  # noqa: F403
from tests.servers.databases import emptied_database, kept_database, server_url

KEY = Key.generate()
BACKENDS_VARIABLE = "FUSION_STORE_TEST_BACKENDS"


class Case(NamedTuple):
    driver: str | None
    make: Callable[[Path], ContractStore]
    server: str | None = None


def memory(_: Path) -> ContractStore:
    return ContractStore(f"memory://{uuid4().hex}")


def sqlite(folder: Path) -> ContractStore:
    return ContractStore(
        f"sqlite:///{folder}/vault.db", backup_url=lambda path: f"sqlite:///{path}", many_processes=True
    )


def leveldb(folder: Path) -> ContractStore:
    return ContractStore(
        f"leveldb:///{folder}/vault?lock_timeout=0",
        backup_url=lambda path: f"leveldb:///{path}",
    )


def on_server(name: str) -> Callable[[Path], ContractStore]:
    """A database on that server, one for all tests of this process, empty at each."""

    def make(_: Path) -> ContractStore:
        return ContractStore(
            emptied_database(name), backup_is_dump=True, absent_url=partial(kept_database, name), many_processes=True
        )

    return make


def encrypted(make: Callable[[Path], ContractStore], cipher: str) -> Callable[[Path], ContractStore]:
    """The same store, sealed."""

    def sealed(folder: Path) -> ContractStore:
        return replace(make(folder), options={"encryption_keys": Keyring([KEY], cipher=cipher)})

    return sealed


def cached(make: Callable[[Path], ContractStore]) -> Callable[[Path], ContractStore]:
    """The same store, validations answered from memory."""

    def remembering(folder: Path) -> ContractStore:
        store = make(folder)
        return replace(store, options={**store.options, "cache": True})

    return remembering


BACKENDS = {
    "memory": Case(None, memory),
    "sqlite": Case("sqlalchemy", sqlite),
    "leveldb": Case("plyvel", leveldb),
    "postgresql": Case("psycopg", on_server("postgresql"), server="postgresql"),
    "mariadb": Case("pymysql", on_server("mariadb"), server="mariadb"),
}
CASES = BACKENDS | {
    f"{name}+{suffix}": case._replace(make=encrypted(case.make, cipher))
    for name, case in BACKENDS.items()
    for suffix, cipher in (("encrypted", Cipher.FERNET), ("aes-gcm", Cipher.AES_256_GCM))
}
CASES |= {f"{name}+cached": case._replace(make=cached(case.make)) for name, case in CASES.items()}


def chosen_cases() -> list[str]:
    """The cases named in the environment; else every backend at hand, and memory with each layer.

    At hand are those whose driver is installed and whose server, if they need one, the environment names.
    """
    installed = [
        name
        for name, case in CASES.items()
        if (case.driver is None or find_spec(case.driver)) and (case.server is None or server_url(case.server))
    ]
    named = os.environ.get(BACKENDS_VARIABLE)
    if named is None:
        return [name for name in installed if name in BACKENDS or (name.startswith("memory") and name.count("+") == 1)]
    names = [name.strip() for name in named.split(",")]
    for name in names:
        if name not in installed:
            state = "not at hand" if name in CASES else "unknown"
            raise pytest.UsageError(f"{BACKENDS_VARIABLE} names {name!r}, which is {state}; at hand: {installed}")
    return names


@pytest.fixture(params=chosen_cases())
def contract_store(request: pytest.FixtureRequest, tmp_path: Path) -> ContractStore:
    case: str = request.param
    return CASES[case].make(tmp_path)
