"""The vault's files are private from their first moment."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_store import ConfigError, TokenRepository, get_repository

WATCHED_CREATION = """
import os, stat, sys
os.umask(int(sys.argv[2], 8))
seen = []

def watch(event, args):
    if event == "sqlite3.connect":
        for folder, _, files in os.walk(sys.argv[3]):
            seen.append((folder, stat.S_IMODE(os.stat(folder).st_mode), 0o700))
            for name in files:
                seen.append((name, stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode), 0o600))

from fusion_store import get_repository
sys.addaudithook(watch)
with get_repository(f"sqlite:///{sys.argv[1]}") as repository:
    repository.add_api_token("one")
    watch("sqlite3.connect", ())
    names = {name for name, *_ in seen}
    assert "vault.db" in names and "vault.db-wal" in names and "vault.db-shm" in names, names
    repository.backup(sys.argv[1] + ".copy")
    watch("sqlite3.connect", ())
assert "vault.db.copy" in {name for name, *_ in seen}
wrong = [(name, oct(mode)) for name, mode, wanted in seen if mode != wanted]
assert not wrong, wrong
"""


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_files_are_0600_in_0700_folders_whatever_the_umask(umask: str, tmp_path: Path) -> None:
    top = tmp_path / "a"
    target = top / "b" / "vault.db"
    subprocess.run([sys.executable, "-c", WATCHED_CREATION, str(target), umask, str(top)], check=True)


def test_the_file_is_private_before_sqlite_opens_it(path: Path) -> None:
    modes: list[tuple[int, int]] = []

    def watch(event: str, args: tuple[object, ...]) -> None:
        if watching and event == "sqlite3.connect" and path.exists():
            modes.append((stat.S_IMODE(path.stat().st_mode), path.stat().st_size))

    watching = True
    sys.addaudithook(watch)
    get_repository(f"sqlite:///{path}").close()
    watching = False
    assert modes[0] == (0o600, 0)


def test_an_empty_file_becomes_a_vault_and_private(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    with get_repository(f"sqlite:///{path}") as repository:
        repository.add_api_token()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_stands_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    get_repository(f"sqlite:///{tmp_path / 'vault.db'}").close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_a_dangling_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "vault.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        get_repository(f"sqlite:///{tmp_path / 'vault.db'}")
    assert not (tmp_path / "elsewhere").exists()


def test_a_relative_url_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    repository = get_repository("sqlite:///here.db")
    monkeypatch.chdir(os.sep)
    with repository:
        repository.add_api_token()
    assert (tmp_path / "here.db").stat().st_size


def test_closing_leaves_one_file(repository: TokenRepository, path: Path) -> None:
    repository.add_api_token()
    repository.close()
    assert [file.name for file in path.parent.iterdir()] == ["vault.db"]
