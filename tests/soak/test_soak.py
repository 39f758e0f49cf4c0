"""Under load for a while, a vault takes no more memory, descriptors, threads and room on disk than at first.

``FUSION_STORE_TEST_SOAK_SECONDS`` says how long, a backend.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SECONDS = float(os.environ["FUSION_STORE_TEST_SOAK_SECONDS"])
ROOM_MIB = 16
"""What caches of the database, and its files, may still grow by after the first third."""

OPERATIONS = {
    *("add_api_token", "validate_api_token", "rotate_api_token", "delete_tenant"),
    *("claim_refresh", "commit_refresh", "get_oauth_token", "list_oauth_tokens"),
    *("create_auth_code", "redeem_auth_code", "store_credentials"),
    *("audit_log", "health", "purge_expired", "stats"),
}
BACKENDS = ["sqlite", *["leveldb"] * (find_spec("plyvel") is not None)]


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_grows_under_load(backend: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.soak.load", f"{backend}:///{tmp_path}/vault", str(SECONDS)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    samples = told["samples"]
    third = len(samples) // 3
    warm, late = samples[third : 2 * third], samples[2 * third :]

    assert told["failures"] == []
    assert told["operations"].keys() >= OPERATIONS
    assert told["attempts"].keys() == {"accepted", "unknown"}
    assert 0 < told["tenants"] <= 40
    assert max(s["descriptors"] for s in late) <= max(s["descriptors"] for s in warm) + 2, samples
    # A check of the health takes one.
    assert max(s["threads"] for s in late) <= max(s["threads"] for s in warm) + 1, samples
    growth = max(s["memory"] for s in late) - min(s["memory"] for s in warm)
    assert growth <= ROOM_MIB, samples
    assert max(s["size"] for s in late) - max(s["size"] for s in warm) <= ROOM_MIB, samples
    print(f"{backend}: {sum(told['operations'].values())} operations, {growth:.1f} MiB more")  # noqa: T201 # the figure to quote
