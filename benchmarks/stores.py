"""Filled stores on every backend at hand, plain and sealed, made when they are first asked for."""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from benchmarks import tenants
from fusion_store._registry import find_backend
from fusion_store.backend import OpenOptions, RecordRepository
from fusion_store.layers import Cipher, EncryptedTokenRepository, Keyring

PLAIN: Final = "plain"
KINDS: Final = (PLAIN, *Cipher)
# It protects nothing: what lies in these stores follows from numbers.
_KEY: Final = base64.urlsafe_b64encode(sha256(b"benchmarks").digest()).decode()

_SERVERS: Final = {
    "postgresql": ("psycopg", "postgresql+psycopg", "FUSION_STORE_TEST_POSTGRESQL_URL"),
    "mariadb": ("pymysql", "mysql+pymysql", "FUSION_STORE_TEST_MARIADB_URL"),
}
_DATABASES: Final = {"postgresql": "SELECT datname FROM pg_database", "mariadb": "SHOW DATABASES"}
_SAMPLE: Final = 20_000
_READ: Final = 1 << 20

T = TypeVar("T")


def backends() -> list[str]:
    """The schemes that can be measured here: servers are where the environment says so."""
    return [
        *["leveldb"] * (find_spec("plyvel") is not None),
        "sqlite",
        *(name for name, (driver, _, variable) in _SERVERS.items() if find_spec(driver) and variable in os.environ),
    ]


class Store(NamedTuple):
    """An open store and its vault: the same, or with encryption around it."""

    scheme: str
    kind: str
    url: str
    tenants: int
    storage: RecordRepository
    vault: RecordRepository

    def sample(self, make: Callable[[int], T], seed: int = 0) -> Sequence[T]:
        """What ``make`` answers for tenants drawn at random; for other seeds mostly others, where there are many."""
        drawn = random.Random(seed).sample(range(self.tenants), min(self.tenants, _SAMPLE))  # noqa: S311
        return [make(number) for number in drawn]


class Stores:
    """The stores of one run, in ``folder``; on servers in databases of their own.

    With ``keep`` they are found there again by the next run with that many tenants, and not removed.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        schemes: Sequence[str],
        *,
        keep: bool = False,
        quick: bool = False,
        say: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.quick = quick
        self.count = count
        self.schemes = schemes
        self._keep = keep
        self._say = say
        self._open: dict[tuple[str, str], tuple[Store, ExitStack]] = {}
        self._databases = ExitStack()

    def get(self, scheme: str, kind: str = PLAIN) -> Store:
        """The open store of that backend and kind."""
        if (scheme, kind) not in self._open:
            opened = ExitStack()
            store = self._filled(scheme, kind, opened)
            self._open[scheme, kind] = store, opened
        return self._open[scheme, kind][0]

    def url(self, scheme: str, kind: str = PLAIN) -> str:
        """The URL of a filled store that this process has not open."""
        self.get(scheme, kind)
        self._open.pop((scheme, kind))[1].close()
        return self._url(scheme, kind)

    def settle(self) -> None:
        """Write the last uses that wait, so that their own time doesn't come amid another measure."""
        for store, _ in self._open.values():
            store.vault.flush()

    def close(self) -> None:
        """Close all, and drop the databases that aren't kept."""
        for _, opened in self._open.values():
            opened.close()
        self._open.clear()
        self._databases.close()

    def _filled(self, scheme: str, kind: str, opened: ExitStack) -> Store:
        url, is_filled = self._url(scheme, kind), self._path(scheme, kind).with_suffix(".filled")
        if scheme in _SERVERS and not is_filled.exists():
            self._make_database(scheme, url)
        store = _open(scheme, kind, url, self.count, opened)
        if not is_filled.exists():
            self._say(f"filling {scheme} {kind} with {self.count} tenants")
            store.vault.import_records(tenants.records(self.count))
            is_filled.touch()
        _read_files(self._path(scheme, kind))
        return store

    def _path(self, scheme: str, kind: str) -> Path:
        return self.folder / f"{scheme}-{kind}-{self.count}"

    def _url(self, scheme: str, kind: str) -> str:
        if scheme not in _SERVERS:
            return f"{scheme}:///{self._path(scheme, kind)}{'.db' if scheme == 'sqlite' else ''}"
        name = f"fusion_store_bench_{kind.replace('-', '_')}_{self.count}{'' if self._keep else f'_{os.getpid()}'}"
        server = make_url(os.environ[_SERVERS[scheme][2]])
        return server.set(database=name).render_as_string(hide_password=False)

    def _make_database(self, scheme: str, url: str) -> None:
        _, driver, variable = _SERVERS[scheme]
        name = make_url(url).database
        engine = create_engine(
            make_url(os.environ[variable]).set(drivername=driver), poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        force = " WITH (FORCE)" if scheme == "postgresql" else ""

        with engine.connect() as connection:
            # Kept and there already: filling it was cut short, and goes on.
            names = connection.exec_driver_sql(_DATABASES[scheme]).scalars().all()
            if name not in names:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")

        def drop() -> None:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name}{force}")

        if not self._keep:
            self._databases.callback(drop)


def _read_files(path: Path) -> None:
    """Bring a store's files into the system's cache, so that no measure is of the disk."""
    folder = path if path.is_dir() else path.parent
    for file in folder.glob("*" if path.is_dir() else f"{path.name}.db*"):
        with suppress(FileNotFoundError), file.open("rb") as opened:
            while opened.read(_READ):
                pass


def _open(scheme: str, kind: str, url: str, count: int, opened: ExitStack) -> Store:
    backend, parsed = find_backend(url)
    storage = opened.enter_context(backend.open(parsed, OpenOptions()))
    vault = storage if kind == PLAIN else EncryptedTokenRepository(storage, Keyring([_KEY], cipher=kind))
    return Store(scheme, kind, url, count, storage, vault)
