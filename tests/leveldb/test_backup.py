"""Copies of a store in use."""

from __future__ import annotations

import errno
import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fusion_store import AlreadyExists, ConfigError, CredentialType, InvalidInput, ServiceCredentials, StoreError
from tests.leveldb.conftest import Opener

pytest.importorskip("plyvel")

from fusion_store_leveldb import LevelDBTokenRepository
from fusion_store_leveldb import _folder as folders
from fusion_store_leveldb import _opening as opening
from fusion_store_leveldb._lock import FolderLock
from fusion_store_leveldb._session import Session


def filled(repository: LevelDBTokenRepository) -> str:
    tenant = repository.add_api_token("mine", scopes=["a"]).hash
    for number in range(5):
        credentials = ServiceCredentials(CredentialType.CUSTOM, {"key": os.urandom(30_000).hex()})
        repository.store_credentials(tenant, f"s{number}", credentials)
        repository.create_auth_code(tenant, "s", ttl=timedelta(hours=1))
    repository.write_mark("mode", b"plain")
    return tenant


def test_a_backup_holds_what_the_store_held(open_store: Opener, tmp_path: Path) -> None:
    repository = open_store()
    filled(repository)
    path = tmp_path / "new" / "copy"
    repository.backup(path)
    before = list(repository.export_records())
    repository.add_api_token()

    with open_store(path, create=False) as copy:
        assert list(copy.export_records()) == before
        assert copy.read_mark("mode") == b"plain"
        assert copy.check().ok
        copy.add_api_token()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}
    assert [entry.name for entry in path.parent.iterdir()] == ["copy"]


def test_a_backup_is_one_moment_of_a_store_in_use(
    open_store: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = open_store()
    tenant = filled(repository)
    before = list(repository.export_records())
    monkeypatch.setattr(opening, "_BATCH_BYTES", 1)
    own, write, changes = repository._handle._session, Session.write, iter([tenant, None])

    def meanwhile(session: Session, *arguments: Any, **options: Any) -> None:
        if session is not own:
            change = next(changes, None)
            if change is not None:
                repository.add_api_token()
                repository.delete_tenant(change)
        write(session, *arguments, **options)

    monkeypatch.setattr(Session, "write", meanwhile)
    repository.backup(tmp_path / "copy")
    assert repository.get_tenant(tenant) is None
    with open_store(tmp_path / "copy") as copy:
        assert list(copy.export_records()) == before
        assert copy.check().ok


@pytest.mark.parametrize("kind", ["file", "folder", "empty", "link", "self"])
def test_an_existing_path_is_refused_and_not_touched(
    open_store: Opener, folder: Path, tmp_path: Path, kind: str
) -> None:
    repository = open_store()
    path = folder if kind == "self" else tmp_path / "copy"
    match kind:
        case "file":
            path.write_text("mine")
        case "folder":
            path.mkdir()
            (path / "file").write_text("mine")
        case "empty":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((AlreadyExists, ConfigError)):
        repository.backup(path)
    assert sorted(tmp_path.rglob("*")) == before
    repository.add_api_token()


def test_a_backup_into_the_stores_own_folder_is_refused(open_store: Opener, folder: Path) -> None:
    repository = open_store()
    with pytest.raises(ConfigError):
        repository.backup(folder / "copy")
    repository.close()
    open_store()


@pytest.mark.parametrize("path", ["", b"copy", 5, "a\0b"])
def test_what_is_no_path_is_invalid(open_store: Opener, path: str) -> None:
    with pytest.raises(InvalidInput):
        open_store().backup(path)


@pytest.mark.parametrize("step", ["write", "mark_ready", "sync_directory"])
def test_after_a_failure_nothing_is_left(
    open_store: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    repository = open_store()
    filled(repository)
    before = {path for path in tmp_path.rglob("*") if path.parent == tmp_path}

    def fail(*arguments: object, **_: object) -> None:
        if step != "sync_directory" or (tmp_path / "copy").exists():
            raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(Session if step == "write" else folders, step, fail)
        with pytest.raises(StoreError):
            repository.backup(tmp_path / "copy")
    assert {path for path in tmp_path.rglob("*") if path.parent == tmp_path} == before
    repository.backup(tmp_path / "copy")


def test_an_unfinished_backup_never_stands_at_its_path(
    open_store: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = open_store()
    filled(repository)
    seen = []
    mark_ready = folders.mark_ready

    def watch(lock: FolderLock) -> None:
        seen.append((tmp_path / "copy").exists())
        mark_ready(lock)
        seen.append((tmp_path / "copy").exists())

    monkeypatch.setattr(folders, "mark_ready", watch)
    repository.backup(tmp_path / "copy")
    assert seen == [False, False]
