from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

from fusion_store.testing import contract

THIRD_PARTY = """
    import pytest

    from fusion_store.testing import ContractStore
    from fusion_store.testing.contract import *


    @pytest.fixture
    def contract_store(tmp_path):
        return ContractStore(url=f"thirdparty://{tmp_path.name}")
"""

BACKEND = """
    from collections import defaultdict

    from fusion_store import StoreNotFound
    from fusion_store.backend import Backend
    from fusion_store_memory import MemoryTokenRepository
    from fusion_store_memory._state import State

    states = {}

    class Repository(MemoryTokenRepository):
        backend_name = "thirdparty"
        BODY

    class ThirdParty(Backend):
        newest_schema = "0001"

        def open(self, url, options):
            if url.host not in states and not options.create:
                raise StoreNotFound("no such store")
            state = states.setdefault(url.host, State())
            return Repository(state, clock=options.clock, token_prefix=options.token_prefix)

        def current_schema(self, url):
            return "0001"

    backend = ThirdParty()
"""


def run_contract(folder: Path, body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "thirdparty_store.py").write_text(textwrap.dedent(BACKEND).replace("BODY", body))
    info = folder / "thirdparty_store-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fusion_store.backends]\nthirdparty = thirdparty_store:backend\n")
    (folder / "test_contract.py").write_text(textwrap.dedent(THIRD_PARTY))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_contract.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_third_party_runs_the_contract_with_one_small_file(tmp_path: Path) -> None:
    run = run_contract(tmp_path, "", "-k", "rotat or backup or signal_changes or reopening")

    assert run.returncode == 0, run.stdout
    assert " passed" in run.stdout
    assert "skipped" not in run.stdout


def test_a_backend_that_breaks_the_contract_is_told_what_differs(tmp_path: Path) -> None:
    body = "def remove_api_token(self, hash, *, audit=None): return True"

    run = run_contract(tmp_path, body, "-k", "test_a_deleted_token_is_gone")

    assert run.returncode == 1, run.stdout
    assert "where APITokenMetadata(" in run.stdout or "assert True is False" in run.stdout


def test_every_contract_test_is_exported_under_a_name_of_its_own() -> None:
    written = [
        name
        for group in contract.GROUPS
        for name, value in vars(group).items()
        if name.startswith("test_") and inspect.getmodule(value) is group
    ]

    assert len(written) == len(set(written))
    assert set(written) == {name for name in contract.__all__ if name.startswith("test_")}
    folder = Path(contract.__file__).parent
    modules = {path.stem for path in folder.glob("_*.py")} - {"__init__", "_fixtures", "_making"}
    assert modules == {group.__name__.rpartition(".")[2] for group in contract.GROUPS}


def test_no_contract_test_skips_sleeps_or_looks_at_the_backends_type() -> None:
    for group in contract.GROUPS:
        source = inspect.getsource(group)
        for word in ("skip(", "skipif", "importorskip", "time.sleep", "isinstance(repository"):
            assert word not in source, group
