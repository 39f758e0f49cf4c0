"""Stores that earlier releases wrote open at the newest schema and hold what they held."""

from __future__ import annotations

import gzip
import json
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from fusion_store import SchemaOutOfDate, get_repository
from fusion_store._registry import find_backend
from fusion_store.backend import read_dump
from fusion_store.testing import ManualClock
from tests.frozen.content import MODES, STORES, digest
from tests.servers.databases import VARIABLES, kept_database, server_url

DIGESTS: dict[str, str] = json.loads((STORES / "digests.json").read_text())
DUMPS = ("1",)
"""All versions of the dump."""
MISSING = [f"{server}.sql" for server in VARIABLES if server_url(server) is None]
if find_spec("plyvel") is None:
    MISSING.append("leveldb.tar.gz")
AUDITED = ("0002",)
"""The schemas whose stores were frozen with an audit trail."""
AT_HAND = [name for name in DIGESTS if name.partition(".")[2] not in MISSING]


def thaw(name: str, folder: Path) -> str:
    """The URL of a copy of a frozen store."""
    frozen, kind = STORES / name, name.partition(".")[2]
    match kind:
        case "sqlite.gz":
            (folder / "vault.db").write_bytes(gzip.decompress(frozen.read_bytes()))
            return f"sqlite:///{folder}/vault.db"
        case "leveldb.tar.gz":
            with tarfile.open(frozen) as archive:
                archive.extractall(folder / "vault", filter="data")
            return f"leveldb:///{folder}/vault"
        case "postgresql.sql" | "mariadb.sql":
            url = kept_database(kind.partition(".")[0])
            run_script(url, frozen.read_text())
            return url
    with get_repository(f"sqlite:///{folder}/vault.db") as empty:
        empty.import_records(read_dump(frozen))
    return f"sqlite:///{folder}/vault.db"


def run_script(url: str, script: str) -> None:
    """Run a file of statements, with the drivers' own way for many in one."""
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        import psycopg

        with psycopg.connect(url) as connection:
            connection.execute(script.encode())
        return
    import pymysql
    from pymysql.constants import CLIENT

    with (
        pymysql.connect(
            host=parsed.host or "",
            port=parsed.port or 3306,
            user=parsed.username,
            password=parsed.password or "",
            database=parsed.database,
            client_flag=CLIENT.MULTI_STATEMENTS,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(script)
        while cursor.nextset():
            pass


def options_of(name: str) -> dict[str, Any]:
    """How a frozen store was opened."""
    return MODES[name.partition(".")[0].partition("-")[2]]


@pytest.mark.parametrize("name", AT_HAND)
def test_a_frozen_store_is_upgraded_and_holds_the_same(name: str, tmp_path: Path) -> None:
    url = thaw(name, tmp_path)
    backend, parsed = find_backend(url)
    if backend.current_schema(parsed) != backend.newest_schema:
        with pytest.raises(SchemaOutOfDate, match="fusion-store schema upgrade"):
            get_repository(url)
        backend.upgrade_schema(parsed)

    with get_repository(url, create=False, clock=ManualClock(), **options_of(name)) as repository:
        assert repository.schema_version() == backend.newest_schema
        assert digest(repository) == DIGESTS[name]
        assert repository.check().ok
        assert bool(repository.audit_log()) is (name[:4] in AUDITED)


@pytest.mark.parametrize("name", [name for name in AT_HAND if not name.endswith(".dump")])
def test_a_frozen_store_goes_up_and_back_to_its_schema_and_up_again(name: str, tmp_path: Path) -> None:
    url = thaw(name, tmp_path)
    backend, parsed = find_backend(url)
    own = backend.current_schema(parsed)

    backend.upgrade_schema(parsed)
    backend.downgrade_schema(parsed, own)
    assert backend.current_schema(parsed) == own
    backend.upgrade_schema(parsed)

    with get_repository(url, create=False, clock=ManualClock(), **options_of(name)) as repository:
        assert digest(repository) == DIGESTS[name]
        assert repository.check().ok


def test_every_schema_is_frozen_on_every_backend() -> None:
    from fusion_store_sql._schema import REVISIONS

    kinds = ("sqlite.gz", "leveldb.tar.gz", "postgresql.sql", "mariadb.sql")
    expected = {f"{revision}-{mode}.{kind}" for revision in REVISIONS for mode in MODES for kind in kinds}
    expected |= {f"{version}-{mode}.dump" for mode in MODES for version in DUMPS}
    assert expected <= set(DIGESTS)
