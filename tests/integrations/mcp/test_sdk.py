"""The authorization server passes the SDK's own tests, from the checkout that the environment names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.mcp.sdk_plugin import MODULES
from tests.integrations.peers import MCP_SDK

FEWEST = 90


@pytest.mark.timeout(600)
def test_the_sdks_own_auth_tests_pass(tmp_path: Path) -> None:
    assert MCP_SDK is not None
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider --import-mode=importlib\n")
    options = ["-q", "-c", str(tmp_path / "pytest.ini"), f"--rootdir={MCP_SDK}", "--noconftest", "-p", "sdk_plugin"]
    paths = os.pathsep.join([str(Path(__file__).parent), str(MCP_SDK)])

    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *MODULES],
        cwd=MCP_SDK,
        env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    passed = re.search(r"(\d+) passed", outcome.stdout)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert passed is not None
    assert int(passed[1]) >= FEWEST
    assert not re.search(r"skipped|xfailed|warnings?", outcome.stdout), outcome.stdout
