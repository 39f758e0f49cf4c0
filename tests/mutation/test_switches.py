"""Each of these guards, switched off in a copy of the source, breaks a test; as it stands, all those tests pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

_ROOT = Path(__file__).parents[2]
_CONTRACT = "tests/test_contract.py::"
_SQLITE = "fusion_store_sql/_sqlite.py"
_LEVELDB = "fusion_store_leveldb/_session.py"
_RULES = "fusion_store/backend/_rules.py"
_SEAL = "fusion_store/layers/_seal.py"
_ENCRYPTED = "fusion_store/layers/_encrypted.py"
_SWAPPED = "tests/encryption/test_transplants.py::test_payloads_of_any_two_rows_that_were_swapped_are_refused"


class Switch(NamedTuple):
    """A guard: where it stands, what is put in its place (each text stands there once), and the test it breaks."""

    file: str
    off: dict[str, str]
    test: str


SWITCHES = {
    "foreign keys": Switch(
        _SQLITE,
        {
            "PRAGMA foreign_keys = ON": "PRAGMA foreign_keys = OFF",
            "is_fit=_keeps_foreign_keys": "is_fit=lambda _: True",
        },
        f"{_CONTRACT}test_deleting_a_tenant_leaves_nothing_that_names_it[sqlite]",
    ),
    "foreign keys, looked at again": Switch(
        _SQLITE,
        {"is_fit=_keeps_foreign_keys": "is_fit=lambda _: True"},
        "tests/sql/test_guards.py::test_foreign_keys_are_checked_at_checkout",
    ),
    "sync on SQLite": Switch(
        _SQLITE,
        {"PRAGMA synchronous = FULL": "PRAGMA synchronous = NORMAL"},
        "tests/sql/test_guards.py::test_every_connection_has_the_pragmas",
    ),
    "sync on LevelDB": Switch(
        _LEVELDB,
        {"sync=any(write.sync for write in group)": "sync=False"},
        "tests/leveldb/test_writes.py::test_threads_writes_share_an_fsync_and_each_is_synced",
    ),
    "sync on LevelDB, unless told otherwise": Switch(
        _LEVELDB,
        {"sync: bool = True": "sync: bool = False"},
        "tests/leveldb/test_writes.py::test_threads_writes_share_an_fsync_and_each_is_synced",
    ),
    "binding of AES-256-GCM": Switch(
        _SEAL,
        {
            "encrypt(nonce, payload, bound)": 'encrypt(nonce, payload, b"")',
            "_NONCE_BYTES:], bound)": '_NONCE_BYTES:], b"")',
        },
        f"{_SWAPPED}[memory-aes-256-gcm]",
    ),
    "binding of Fernet": Switch(
        _SEAL,
        {"content[end:] if content[2:end] == bound else None": "content[end:]"},
        f"{_SWAPPED}[memory-fernet]",
    ),
    "binding to what was asked for": Switch(
        _ENCRYPTED,
        {"self._opened_as(place.binding(record.expires_at), record)": "self.opened(record)"},
        "tests/encryption/test_transplants.py::test_records_found_under_the_key_of_another_are_refused[fernet-memory]",
    ),
    "fence of a commit": Switch(
        _RULES,
        {"if state.tenant_exists and state.counter.claim_fence != fence:": "if False:"},
        f"{_CONTRACT}test_a_late_owner_loses_to_a_newer_claim[memory]",
    ),
    "fence of a release": Switch(
        _RULES,
        {"    if state.counter.claim_fence != fence:\n            return None": "    pass"},
        f"{_CONTRACT}test_releasing_a_claim_that_has_ended_does_nothing[memory]",
    ),
    "fence that grows": Switch(
        _RULES,
        {"fence = counter.fence + 1": "fence = counter.fence or 1"},
        f"{_CONTRACT}test_a_late_owner_loses_to_a_newer_claim[memory]",
    ),
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages side by side with the tests: what is imported from there."""
    folder = tmp_path_factory.mktemp("source")
    packages = [_ROOT / "fusion_store", *(_ROOT / "backends").iterdir(), _ROOT / "alembic/fusion_store_migrations"]
    for source in [*packages, _ROOT / "tests"]:
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_ROOT / "pyproject.toml", folder)
    return folder


def run(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FUSION_STORE_TEST_BACKENDS": "memory,sqlite", "PYTHONDONTWRITEBYTECODE": "1"}
    arguments = ["-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_with_every_guard_the_tests_pass(copied: Path) -> None:
    finished = run(copied, *{switch.test for switch in SWITCHES.values()})
    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize("name", SWITCHES)
def test_without_it_a_test_fails(copied: Path, name: str) -> None:
    switch = SWITCHES[name]
    path = copied / switch.file
    whole = path.read_text()
    without = whole
    for guard, off in switch.off.items():
        assert whole.count(guard) == 1, guard
        without = without.replace(guard, off)
    path.write_text(without)
    try:
        finished = run(copied, switch.test)
    finally:
        path.write_text(whole)
    assert finished.returncode == 1, finished.stdout
    assert "1 failed" in finished.stdout
