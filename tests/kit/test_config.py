from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fusion_store import ConfigError, get_repository
from fusion_store._config import data_directory, default_url


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FUSION_STORE_URL", "FUSION_STORE_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_the_url_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FUSION_STORE_URL", "memory://")
    monkeypatch.setenv("FUSION_STORE_DATA_DIR", str(tmp_path / "data"))

    with get_repository() as repository:
        assert repository.health().backend == "memory"
    assert not (tmp_path / "data").exists()


def test_a_given_url_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_STORE_URL", "nosuch://x")

    with get_repository("memory://") as repository:
        assert repository.health().backend == "memory"


def test_without_a_url_it_is_sqlite_in_the_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "data #1 é?"
    monkeypatch.setenv("FUSION_STORE_DATA_DIR", str(folder))

    with get_repository() as repository:
        hash = repository.add_api_token().hash
        assert repository.health().backend == "sqlite"

    file = folder / "fusion-store.db"
    assert file.is_file()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM api_tokens").fetchone() == (1,)
    with get_repository(create=False) as repository:
        assert repository.get_api_token(hash) is not None


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FUSION_STORE_URL", "")
    monkeypatch.setenv("FUSION_STORE_DATA_DIR", str(tmp_path))

    assert default_url() == f"sqlite:///{tmp_path}/fusion-store.db"


def test_the_system_directory_is_taken_where_it_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fusion_store._config._SYSTEM_DATA_DIR", tmp_path / "opt")
    assert data_directory() == tmp_path / "home/.local/share/fusion-store"

    (tmp_path / "opt").mkdir()
    assert data_directory() == tmp_path / "opt"

    monkeypatch.setattr("os.access", lambda *_: False)
    assert data_directory() == tmp_path / "home/.local/share/fusion-store"


def test_the_users_directory_follows_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fusion_store._config._SYSTEM_DATA_DIR", tmp_path / "no such")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))

    assert data_directory() == tmp_path / "xdg/fusion-store"


def test_without_a_home_directory_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fusion_store._config._SYSTEM_DATA_DIR", tmp_path / "no such")

    def no_home(*_: object, **__: object) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr("platformdirs.user_data_path", no_home)

    with pytest.raises(ConfigError, match="FUSION_STORE_DATA_DIR"):
        get_repository()
