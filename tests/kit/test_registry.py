from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_store import ConfigError, TokenRepository, get_repository
from fusion_store._registry import list_backends

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution with one module that registers backends."""

    def put(source: str, entry_points: str) -> None:
        (tmp_path / "thirdparty_store.py").write_text(textwrap.dedent(source))
        info = tmp_path / "thirdparty_store-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty-store\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[fusion_store.backends]\n" + textwrap.dedent(entry_points))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "thirdparty_store", raising=False)

    return put


BACKEND = """
    from fusion_store.backend import Backend
    from fusion_store_memory import MemoryTokenRepository

    class Repository(MemoryTokenRepository):
        backend_name = "thirdparty"

    class ThirdParty(Backend):
        newest_schema = "1"

        def open(self, url, options):
            url.allow_parameters(["size"])
            return Repository(clock=options.clock, token_prefix=options.token_prefix)

        def current_schema(self, url):
            return "1"

    backend = ThirdParty()
    nothing = object()
"""


def test_a_backend_registered_by_another_distribution_opens(install: Install) -> None:
    install(BACKEND, "thirdparty = thirdparty_store:backend")

    with get_repository("thirdparty://x?size=3", token_prefix="acme") as repository:
        assert repository.health().backend == "thirdparty"
        assert repository.add_api_token().token.startswith("acme_")
    with pytest.raises(ConfigError, match="known: size"):
        get_repository("thirdparty://x?colour=red")


def test_a_registered_backend_is_listed_and_known(install: Install) -> None:
    install(BACKEND, "thirdparty = thirdparty_store:backend")

    statuses = {status.scheme: status for status in list_backends()}

    assert statuses["thirdparty"].installed
    assert statuses["thirdparty"].driver == "thirdparty_store"
    with pytest.raises(ConfigError, match="thirdparty"):
        get_repository("nosuch://x")


def test_a_built_in_scheme_is_never_taken_over(install: Install) -> None:
    install("raise AssertionError('loaded')", "memory = thirdparty_store:backend\nsqlite = thirdparty_store:backend")

    with get_repository("memory://") as repository:
        assert repository.health().backend == "memory"
    assert [status.scheme for status in list_backends()].count("memory") == 1


def test_a_backend_that_can_not_be_loaded_is_a_config_error(install: Install) -> None:
    install("import no_such_driver", "thirdparty = thirdparty_store:backend")

    with pytest.raises(ConfigError, match="thirdparty"):
        get_repository("thirdparty://x")


def test_a_registered_object_that_is_no_backend_is_a_config_error(install: Install) -> None:
    install(BACKEND, "thirdparty = thirdparty_store:nothing")

    with pytest.raises(ConfigError, match=r"no fusion_store\.backend\.Backend"):
        get_repository("thirdparty://x")


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown scheme 'redis'; known: .*leveldb.*memory.*sqlite"):
        get_repository("redis://user:hunter2@host")


@pytest.fixture
def without_plyvel(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "fusion_store_leveldb"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plyvel", None)


@pytest.mark.usefixtures("without_plyvel")
def test_a_missing_driver_names_the_extra_to_install(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"leveldb needs plyvel.*pip install 'fusion-store\[leveldb\]'"):
        get_repository(f"leveldb:///{tmp_path}/x")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_plyvel")
def test_backends_are_listed_with_the_driver_they_need() -> None:
    statuses = {status.scheme: status for status in list_backends()}

    assert list(statuses)[:6] == ["memory", "sqlite", "postgresql", "mysql", "mariadb", "leveldb"]
    assert (statuses["memory"].driver, statuses["memory"].installed) == (None, True)
    assert statuses["sqlite"].installed
    assert statuses["leveldb"] == ("leveldb", "plyvel", False, "leveldb")


def test_a_named_memory_store_is_shared_and_a_nameless_one_private() -> None:
    with get_repository("memory://shared in this test") as first:
        token = first.add_api_token().token
        with get_repository("memory://shared in this test") as second:
            assert second.validate_api_token(token) is not None
    with get_repository("memory://shared in this test", create=False) as third:
        assert third.validate_api_token(token) is not None
    for url in ("memory://", "memory://another"):
        with get_repository(url) as other:
            assert other.validate_api_token(token) is None


def test_what_is_opened_is_a_token_repository() -> None:
    with get_repository("memory://") as repository:
        assert isinstance(repository, TokenRepository)
