"""Whose a folder is, in which phase, and who may read it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_store import (
    ConfigError,
    CorruptStore,
    FusionStoreError,
    SchemaOutOfDate,
    SchemaTooNew,
    StoreNotFound,
    get_repository,
)
from tests.leveldb.conftest import Opener, Runner, contents, raw

pytest.importorskip("plyvel")

from fusion_store.backend import StoreURL
from fusion_store_leveldb import _folder as folders
from fusion_store_leveldb import backend
from fusion_store_leveldb._session import Session

MARKER = "FUSION-STORE"

MODES = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[2], 8))
from fusion_store import CredentialType, ServiceCredentials
from fusion_store_leveldb import LevelDBTokenRepository

folder = Path(sys.argv[1])

def check(names=set()):
    for path in folder.iterdir():
        try:
            assert path.stat().st_mode & 0o777 == 0o600, (path, oct(path.stat().st_mode))
        except FileNotFoundError:
            continue
        names.add(path.name)
    return names

with LevelDBTokenRepository(folder) as repository:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    tenant = repository.add_api_token().hash
    for number in range(160):
        credentials = ServiceCredentials(CredentialType.CUSTOM, {"key": os.urandom(30_000).hex()})
        repository.store_credentials(tenant, f"service {number}", credentials)
        names = check()
print(sum(name.endswith(".log") for name in names), sum(name.endswith(".ldb") for name in names))
"""


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_everything_is_private_from_its_first_moment_whatever_the_umask(folder: Path, run: Runner, umask: str) -> None:
    folder = folder / "below" / "vault"
    script = MODES.replace("Path(sys.argv[1])", f"Path({str(folder)!r})")

    logs, tables = map(int, run(script, umask).split())

    assert logs >= 3
    assert tables >= 2


def test_without_acls_files_are_narrowed_when_the_database_is_opened_and_reopened(
    folder: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "no ACLs here")

    monkeypatch.setattr(os, "setxattr", refuse)
    repository = open_store()
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}

    session = repository._handle._session
    assert session is not None
    session._failure = FusionStoreError()
    repository.add_api_token()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_folder_that_was_opened_to_others_is_closed_to_them_again(folder: Path, open_store: Opener) -> None:
    open_store().close()
    folder.chmod(0o755)
    (folder / "CURRENT").chmod(0o644)
    os.removexattr(folder, "system.posix_acl_default")

    repository = open_store()
    raw(repository).compact_range()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("create", [True, False])
def test_a_foreign_folder_is_refused_and_not_touched(folder: Path, open_store: Opener, create: bool) -> None:
    folder.mkdir(mode=0o755)
    (folder / "000123.log").write_text("somebody's log")
    before = contents(folder)

    with pytest.raises(ConfigError):
        open_store(create=create)
    assert contents(folder) == before


def test_another_programs_database_is_refused_and_not_touched(folder: Path, open_store: Opener) -> None:
    import plyvel

    with plyvel.DB(os.fsencode(folder), create_if_missing=True) as database:
        database.put(b"key", b"value")
    before = contents(folder)

    with pytest.raises(ConfigError):
        open_store()
    assert contents(folder) == before


def test_an_empty_folder_becomes_a_store(folder: Path, open_store: Opener) -> None:
    folder.mkdir(mode=0o755)
    assert open_store().stats().tenants == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_is_no_folder(folder: Path, open_store: Opener) -> None:
    folder.write_text("")
    with pytest.raises(ConfigError):
        open_store()


def test_nothing_is_created_unless_asked_for(folder: Path, open_store: Opener) -> None:
    with pytest.raises(StoreNotFound):
        open_store(folder / "below", create=False)
    assert not folder.exists()

    folder.mkdir()
    with pytest.raises(StoreNotFound):
        open_store(create=False)
    assert list(folder.iterdir()) == []

    open_store().close()
    assert open_store(create=False).schema_version() == folders.SCHEMA_VERSION


def test_a_lost_current_file_is_no_new_store(folder: Path, open_store: Opener) -> None:
    open_store().close()
    (folder / "CURRENT").unlink()
    before = contents(folder)

    for create in (True, False):
        with pytest.raises(CorruptStore):
            open_store(create=create)
    assert contents(folder) == before


def test_a_current_file_that_was_lost_in_use_makes_no_new_store(folder: Path, open_store: Opener) -> None:
    repository = open_store()
    repository.add_api_token()
    session = repository._handle._session
    assert session is not None
    session._failure = FusionStoreError()
    (folder / "CURRENT").unlink()

    with pytest.raises(CorruptStore):
        repository.stats()
    assert not (folder / "CURRENT").exists()


def test_the_remains_of_an_unfinished_creation_are_not_taken_over(folder: Path, open_store: Opener) -> None:
    with open_store() as repository:
        repository.add_api_token()
    marker = folder / MARKER
    marker.write_bytes(marker.read_bytes().replace(b" ready schema 0002   ", b" creating schema 0002"))
    with pytest.raises(StoreNotFound):
        open_store(create=False)
    with open_store() as repository:
        assert repository.stats().api_tokens == 0

    marker.write_bytes(marker.read_bytes().replace(b" ready schema 0002   ", b" creating schema 0002"))
    (folder / "CURRENT").write_bytes(b"damaged")
    assert open_store().check().ok


def test_a_lost_table_is_not_passed_over(folder: Path, open_store: Opener) -> None:
    repository = open_store()
    repository.add_api_token()
    raw(repository).compact_range()
    repository.close()
    for table in folder.glob("*.ldb"):
        table.unlink()

    with pytest.raises(CorruptStore):
        open_store()


@pytest.mark.parametrize("text", [b"", b"fusion-store lev", b"\0" * 512])
def test_a_torn_marker_is_made_anew_only_where_no_database_stands(
    folder: Path, open_store: Opener, text: bytes
) -> None:
    folder.mkdir()
    (folder / MARKER).write_bytes(text)
    (folder / "LOCK").touch()
    with pytest.raises(StoreNotFound):
        open_store(create=False)
    with open_store() as repository:
        tenant = repository.add_api_token().hash

    (folder / MARKER).write_bytes(text)
    before = contents(folder)
    with pytest.raises(CorruptStore):
        open_store()
    assert contents(folder) == before
    assert (folder / "CURRENT").exists()
    assert tenant


def test_an_unfinished_store_that_holds_something_else_is_not_emptied(folder: Path, open_store: Opener) -> None:
    folder.mkdir()
    (folder / MARKER).touch()
    (folder / "notes.txt").write_text("mine")
    before = contents(folder)

    with pytest.raises(ConfigError):
        open_store()
    assert contents(folder) == before


@pytest.mark.parametrize("step", ["_write_marker", "open_database", "make_private", "mark_ready", "sync_directory"])
def test_a_creation_that_fails_at_any_step_is_begun_anew(
    folder: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(folders, step, fail)
        with pytest.raises((FusionStoreError, OSError)):
            open_store()
    assert open_store().stats().tenants == 0


def test_a_store_is_marked_creating_until_it_holds_its_first_records(
    folder: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    write = Session.write

    def watch(*arguments: object, **options: object) -> None:
        seen.append((folder / MARKER).read_bytes()[:35])
        write(*arguments, **options)  # type: ignore[arg-type]
        seen.append((folder / MARKER).read_bytes()[:35])

    monkeypatch.setattr(Session, "write", watch)
    open_store()
    assert seen == [b"fusion-store leveldb creating schem"] * 2
    assert (folder / MARKER).read_bytes().startswith(b"fusion-store leveldb ready schema 0002 ")


def test_what_is_synced_before_leveldb_may_create_and_before_the_store_is_ready(
    folder: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bytes]] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        synced.append((name, (folder / MARKER).read_bytes()[21:29] if (folder / MARKER).exists() else b""))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    open_store()
    for phase in (b"creating", b"ready sc"):
        assert (MARKER, phase) in synced
        assert (folder.name, phase) in synced
    assert ("CURRENT", b"creating") in synced
    assert (folder.parent.name, b"creating") in synced


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from fusion_store_leveldb import LevelDBTokenRepository

root = Path(sys.argv[1])
root.mkdir()
stores = [root / str(number) for number in range(30)]
for store in stores:
    ready, go = os.pipe()
    child = os.fork()
    if not child:
        os.write(go, b".")
        LevelDBTokenRepository(store)
        os._exit(0)
    os.read(ready, 1)
    time.sleep(random.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
phases = [(store / "FUSION-STORE").read_bytes()[21:26].decode() if (store / "FUSION-STORE").exists() else "none"
          for store in stores]
for store in stores:
    with LevelDBTokenRepository(store, lock_timeout=0) as repository:
        assert repository.check().ok
        token = repository.add_api_token()
    with LevelDBTokenRepository(store, lock_timeout=0) as repository:
        assert repository.get_api_token(token.hash)
print(phases)
"""


def test_stores_killed_while_they_were_created_open(run: Runner) -> None:
    assert "creat" in run(KILLED)


def marked(folder: Path, schema: str) -> None:
    marker = folder / MARKER
    marker.write_bytes(marker.read_bytes().replace(b"schema 0002", b"schema " + schema.encode()))


@pytest.mark.parametrize(("schema", "error"), [("0003", SchemaTooNew), ("0001", SchemaOutOfDate)])
def test_another_schema_is_refused_without_changing_a_byte(
    folder: Path, open_store: Opener, schema: str, error: type[FusionStoreError]
) -> None:
    open_store().close()
    marked(folder, schema)
    before = contents(folder)

    with pytest.raises(error) as caught:
        open_store()
    assert error is SchemaTooNew or "fusion-store schema upgrade" in str(caught.value)
    assert backend.current_schema(StoreURL.parse(f"leveldb:///{folder}")) == schema
    assert contents(folder) == before


def test_a_schema_that_only_the_database_knows_of_is_refused(folder: Path, open_store: Opener) -> None:
    with open_store() as repository:
        raw(repository).put(b"s", b"\x010003")
    with pytest.raises(SchemaTooNew):
        open_store()


def test_the_schema_of_what_is_no_store_is_not_found(folder: Path) -> None:
    url = StoreURL.parse(f"leveldb:///{folder}")
    with pytest.raises(StoreNotFound):
        backend.current_schema(url)
    folder.mkdir()
    with pytest.raises(StoreNotFound):
        backend.current_schema(url)
    (folder / "x").touch()
    with pytest.raises(ConfigError):
        backend.current_schema(url)


@pytest.mark.parametrize("query", ["lock_timeout=x", "lock_timeout=-1", "create_if_missing=1"])
def test_a_url_with_other_parameters_is_refused(folder: Path, query: str) -> None:
    with pytest.raises(ConfigError):
        get_repository(f"leveldb:///{folder}?{query}")
    assert not folder.exists()


def test_a_path_of_any_bytes_is_taken(tmp_path: Path, open_store: Opener) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff \xc3\xa9"))
    with open_store(folder) as repository:
        repository.add_api_token()
    assert open_store(folder).stats().api_tokens == 1


def test_the_hosts_change_of_directory_does_not_move_the_store(
    tmp_path: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    repository = open_store(Path("vault"))
    monkeypatch.chdir("/")
    raw(repository).compact_range()
    repository.add_api_token()
    assert repository.stats().bytes_on_disk > 0
    repository.close()
    assert open_store(tmp_path / "vault").stats().api_tokens == 1


def test_bytes_on_disk_are_those_of_all_files(folder: Path, open_store: Opener) -> None:
    repository = open_store()
    repository.add_api_token()
    assert repository.stats().bytes_on_disk == sum(path.stat().st_size for path in folder.iterdir())


def test_a_move_of_the_schema_that_was_cut_short_is_finished_by_the_next(
    folder: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = StoreURL.parse(f"leveldb:///{folder}")
    with open_store() as repository:
        token = repository.add_api_token()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    moves: dict[str, Callable[[], None]] = {
        "0001": lambda: backend.downgrade_schema(url, "0001"),
        "0002": lambda: backend.upgrade_schema(url),
    }
    for version, move in moves.items():
        for owner, step in ((Session, "write"), (folders, "mark_ready")):
            with monkeypatch.context() as patched:
                patched.setattr(owner, step, interrupt)
                with pytest.raises(KeyboardInterrupt):
                    move()
            if backend.current_schema(url) != "0002":
                with pytest.raises(SchemaOutOfDate):
                    open_store()
        move()
        assert backend.current_schema(url) == version

    with open_store() as repository:
        assert repository.validate_api_token(token.token)
        assert repository.check().ok
