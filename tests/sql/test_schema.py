"""The schema comes from the migrations, and a store of another schema isn't touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from fusion_store import (
    ConfigError,
    CorruptStore,
    FusionStoreError,
    InvalidInput,
    SchemaOutOfDate,
    SchemaTooNew,
    StoreNotFound,
    TokenRepository,
    get_repository,
)
from fusion_store._registry import find_backend
from fusion_store_sql import HEAD, metadata
from fusion_store_sql._sqlite import SQLiteLocation
from tests.sql.conftest import fill, raw, run_at_once


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


def stamp(path: Path, revision: str) -> None:
    with raw(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_head_is_the_declared_tables(repository: TokenRepository, path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD
    engine.dispose()


def test_the_declared_head_is_the_newest_migration() -> None:
    import fusion_store_migrations

    (folder,) = fusion_store_migrations.__path__
    assert ScriptDirectory(folder).get_heads() == [HEAD]


def test_up_down_and_up_again_works_on_a_filled_database(repository: TokenRepository, path: Path) -> None:
    from fusion_store_sql import _migrations

    fill(repository)
    repository.close()
    location = SQLiteLocation(path)
    with location.migrating() as connection:
        _migrations.downgrade(connection, "base")
    with raw(path) as check:
        tables = {name for (name,) in check.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"alembic_version"}
    with location.migrating() as connection:
        _migrations.upgrade(connection)
    with get_repository(f"sqlite:///{path}") as opened:
        assert opened.stats().api_tokens == 0
        fill(opened)
        assert opened.check().ok


def test_a_migration_that_rebuilds_the_parent_table_keeps_its_children(repository: TokenRepository, path: Path) -> None:
    fill(repository)
    before = list(repository.export_records())
    repository.close()

    with SQLiteLocation(path).migrating() as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("tenants", recreate="always") as tenants:
            tenants.alter_column("created_at", server_default="0")

    with get_repository(f"sqlite:///{path}") as opened:
        assert list(opened.export_records()) == before


def test_a_migration_that_would_leave_orphans_is_undone(repository: TokenRepository, path: Path) -> None:
    fill(repository)
    before = list(repository.export_records())
    repository.close()

    with pytest.raises(CorruptStore, match="no tenant"), SQLiteLocation(path).migrating() as connection:
        connection.exec_driver_sql("DELETE FROM tenants")

    with get_repository(f"sqlite:///{path}") as opened:
        assert list(opened.export_records()) == before


def test_opening_a_current_store_imports_no_alembic(repository: TokenRepository, path: Path) -> None:
    repository.close()
    code = """
import sys
from fusion_store import get_repository
with get_repository(sys.argv[1]) as repository:
    repository.add_api_token()
assert "sqlalchemy" in sys.modules
assert not [name for name in sys.modules if name.partition(".")[0] in ("alembic", "mako")]
"""
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{path}"], check=True)


@pytest.mark.parametrize("logged", [False, True], ids=["closed", "with-a-log"])
@pytest.mark.parametrize(("revision", "error"), [("9999", SchemaTooNew), ("0000", SchemaOutOfDate)])
def test_another_schema_is_refused_and_not_a_byte_changed(  # noqa: PLR0917
    repository: TokenRepository,
    path: Path,
    revision: str,
    error: type[FusionStoreError],
    logged: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import fusion_store_sql._backend as backend

    monkeypatch.setattr(backend, "REVISIONS", ("0000", HEAD))
    fill(repository, 1)
    repository.close()
    with raw(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        if logged:
            before = contents(path.parent)
            assert before["vault.db-wal"][0]
            with pytest.raises(error):
                get_repository(f"sqlite:///{path}")
            after = contents(path.parent)
            assert (before["vault.db"], before["vault.db-wal"]) == (after["vault.db"], after["vault.db-wal"])
            return
    before = contents(path.parent)
    with pytest.raises(error, match="upgrade"):
        get_repository(f"sqlite:///{path}")
    assert contents(path.parent) == before


def test_a_foreign_database_is_refused_and_not_touched(path: Path) -> None:
    path.parent.mkdir()
    with raw(path) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    before = contents(path.parent)
    with pytest.raises(ConfigError, match="something else"):
        get_repository(f"sqlite:///{path}")
    assert contents(path.parent) == before


def test_a_file_that_is_no_database_is_refused_and_not_touched(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"a shopping list\n" * 500)
    before = contents(path.parent)
    with pytest.raises(CorruptStore):
        get_repository(f"sqlite:///{path}")
    assert contents(path.parent) == before


def test_no_store_is_created_when_none_may_be(path: Path) -> None:
    with pytest.raises(StoreNotFound):
        get_repository(f"sqlite:///{path}", create=False)
    assert not path.parent.exists()


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/file.db", "sqlite:///x.db?journal_mode=off"],
)
def test_a_url_that_names_no_file_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        get_repository(url)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        get_repository(f"sqlite:///{tmp_path}")


def test_the_backend_moves_the_schema(repository: TokenRepository, path: Path) -> None:
    repository.close()
    backend, url = find_backend(f"sqlite:///{path}")
    assert backend.current_schema(url) == backend.newest_schema == HEAD
    backend.upgrade_schema(url)
    with pytest.raises(InvalidInput, match=HEAD):
        backend.downgrade_schema(url, "0000")
    stamp(path, "9999")
    with pytest.raises(SchemaTooNew):
        backend.upgrade_schema(url)


def test_processes_that_start_at_once_create_one_vault(path: Path) -> None:
    code = "import sys; from fusion_store import get_repository; get_repository(sys.argv[1]).add_api_token()"
    run_at_once(code, f"sqlite:///{path}", processes=6)
    with get_repository(f"sqlite:///{path}") as repository:
        assert repository.stats().tenants == 6
