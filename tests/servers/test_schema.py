"""The schema on servers: made once, by whoever comes first, and finished after whatever cut it short."""

from __future__ import annotations

import os
import sys
from subprocess import PIPE, Popen, run
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeEngine

from fusion_store import (
    ConfigError,
    CorruptStore,
    SchemaOutOfDate,
    SchemaTooNew,
    StoreNotFound,
    TokenRepository,
    get_repository,
)
from fusion_store._registry import find_backend
from fusion_store_sql import HEAD, metadata
from fusion_store_sql._backend import _locate
from fusion_store_sql._schema import LOCK_TABLE
from tests.servers.databases import engine_for
from tests.sql.conftest import fill

OPEN = """
import sys
from fusion_store import get_repository
with get_repository() as repository:
    repository.add_api_token()
"""


def differs(
    context: MigrationContext, _found: object, _declared: object, found: TypeEngine[Any], declared: TypeEngine[Any]
) -> bool | None:
    assert context.dialect is not None
    if context.dialect.name != "postgresql":
        return None
    # To PostgreSQL, VARCHAR without a length is TEXT.
    return found.compile(context.dialect) != declared.compile(context.dialect).replace("VARCHAR", "TEXT")


def test_head_is_the_declared_tables(repository: TokenRepository, url: str) -> None:
    with engine_for(url).connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": differs,
                "include_object": lambda _o, name, kind, *_: (kind, name) != ("table", LOCK_TABLE),
            },
        )
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD


def test_ten_processes_that_open_at_once_make_the_schema_once(url: str) -> None:
    environment = {**os.environ, "FUSION_STORE_URL": url}
    children = [Popen([sys.executable, "-c", OPEN], env=environment, stderr=PIPE, text=True) for _ in range(10)]

    errors = [child.communicate()[1] for child in children]

    assert [child.returncode for child in children] == [0] * 10, errors
    with get_repository(url, create=False) as repository:
        assert repository.stats().api_tokens == 10
        assert repository.check().ok


@pytest.mark.timeout(600)
def test_a_migration_killed_at_any_statement_runs_through_the_next_time(server: str) -> None:
    killed = run([sys.executable, "-m", "tests.servers.killed_migration", server], stdout=PIPE, check=True, text=True)

    assert int(killed.stdout) > 20


def test_up_down_and_up_again_works_on_a_filled_database(
    repository: TokenRepository, url: str, raw: Connection
) -> None:
    from fusion_store_sql import _migrations

    fill(repository)
    repository.close()
    location = _locate(find_backend(url)[1])
    with location.migrating() as connection:
        _migrations.downgrade(connection, "base")
    assert location.tables() == {"alembic_version", LOCK_TABLE}
    with get_repository(url) as opened:
        assert opened.stats().api_tokens == 0
        fill(opened)
        assert opened.check().ok


def test_a_store_of_another_schema_is_not_touched(repository: TokenRepository, url: str, raw: Connection) -> None:
    fill(repository)
    repository.close()

    raw.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew):
        get_repository(url)
    with pytest.raises(SchemaTooNew):
        find_backend(url)[0].upgrade_schema(find_backend(url)[1])

    raw.exec_driver_sql("INSERT INTO alembic_version VALUES ('0002')")
    with pytest.raises(CorruptStore):
        get_repository(url)

    raw.exec_driver_sql("DELETE FROM alembic_version WHERE version_num = '9999'")
    with get_repository(url) as opened:
        assert opened.check().ok


def test_an_older_schema_is_out_of_date(repository: TokenRepository, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fusion_store_sql._backend as backend

    repository.close()
    monkeypatch.setattr(backend, "HEAD", "0003")
    with pytest.raises(SchemaOutOfDate, match="fusion-store schema upgrade"):
        get_repository(url)


def test_a_database_that_holds_something_else_is_refused(url: str, raw: Connection) -> None:
    raw.exec_driver_sql("CREATE TABLE guests (name VARCHAR(10))")

    with pytest.raises(ConfigError, match="something else"):
        get_repository(url)

    raw.exec_driver_sql("SELECT name FROM guests")
    with pytest.raises(SQLAlchemyError):
        raw.exec_driver_sql("SELECT * FROM tenants")


def test_there_is_no_store_where_the_server_has_no_such_database(url: str) -> None:
    with pytest.raises(StoreNotFound):
        get_repository(url + "_not")
