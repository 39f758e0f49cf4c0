"""Databases on the servers that the environment names; each is made for the tests and dropped after them."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Final
from uuid import uuid4

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.pool import NullPool

from fusion_store import SYSTEM_TENANT, get_repository
from fusion_store.backend import TenantRecord

VARIABLES: Final = {
    "postgresql": "FUSION_STORE_TEST_POSTGRESQL_URL",
    "mariadb": "FUSION_STORE_TEST_MARIADB_URL",
}
_MODULES: Final = {"postgresql": "psycopg", "mariadb": "pymysql"}
_DRIVERS: Final = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql"}

_of_this_process: Final[dict[tuple[str, str], str]] = {}
_at_exit: Final = ExitStack()
atexit.register(_at_exit.close)


def server_url(server: str) -> str | None:
    """The URL of a database to connect to for making others; None where the environment names none, or its driver
    isn't installed."""
    return os.environ.get(VARIABLES[server]) if find_spec(_MODULES[server]) else None


def engine_for(url: str) -> Engine:
    """A plain engine on a store's URL, in autocommit."""
    parsed = make_url(url)
    return create_engine(
        parsed.set(drivername=_DRIVERS[parsed.drivername], query={}), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )


@contextmanager
def new_database(server: str) -> Iterator[str]:
    """The URL of a new, empty database, dropped in the end whoever is still connected."""
    url = server_url(server)
    assert url is not None
    name = f"fusion_store_test_{uuid4().hex}"
    with engine_for(url).connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine_for(url).connect() as connection:
            force = " WITH (FORCE)" if server == "postgresql" else ""
            connection.exec_driver_sql(f"DROP DATABASE {name}{force}")


def kept_database(server: str) -> str:
    """The URL of a new, empty database, dropped when this process ends."""
    return _at_exit.enter_context(new_database(server))


def emptied_database(server: str, name: str = "") -> str:
    """The URL of a database that holds an empty vault; the same one each time for one name."""
    url = _of_this_process.get((server, name))
    if url is None:
        url = _of_this_process[server, name] = kept_database(server)
        get_repository(url).close()
        return url
    with engine_for(url).begin() as connection:
        for table in ("tenants", "marks", "audit_records", "audit_chains"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
        connection.exec_driver_sql(
            f"INSERT INTO tenants VALUES ('{SYSTEM_TENANT}', 0, {TenantRecord(SYSTEM_TENANT, 0).checksum()})"
        )
    return url
