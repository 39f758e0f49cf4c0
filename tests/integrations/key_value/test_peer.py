"""The store passes py-key-value's own tests, from the checkout that the environment names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_store.testing import ContractStore
from tests.integrations.peers import KEY_VALUE

SUITE = Path(__file__).with_name("peer_suite.py")
FEWEST = 60


@pytest.mark.timeout(300)
def test_py_key_values_own_tests_pass(contract_store: ContractStore, tmp_path: Path) -> None:
    assert KEY_VALUE is not None
    folder = tmp_path / "suite"
    folder.mkdir()
    shutil.copy(SUITE, folder / "test_suite.py")
    (folder / "pytest.ini").write_text("[pytest]\nanyio_mode = auto\naddopts = -p no:cacheprovider\n")
    keys = contract_store.options.get("encryption_keys")
    environment = os.environ | {"PYTHONPATH": str(KEY_VALUE), "FUSION_STORE_URL": contract_store.url}
    if keys is not None:
        environment["FUSION_STORE_KEYS"] = ",".join(key.reveal() for key in keys)
    run = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", str(folder)]

    outcome = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    passed = re.search(r"(\d+) passed", outcome.stdout)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert passed is not None
    assert int(passed[1]) >= FEWEST
    assert not re.search(r"skipped|xfailed|warnings?", outcome.stdout), outcome.stdout
