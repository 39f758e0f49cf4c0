"""Coroutines go on in a forked child, where the backend can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")

_CODE = """
import asyncio, os, signal, sys, time
from fusion_store import AsyncTokenRepository, get_repository
vault = AsyncTokenRepository(get_repository("sqlite:///" + sys.argv[1]))
issued = asyncio.run(vault.add_api_token())
time.sleep(0.1)
child = os.fork()
if child == 0:
    signal.alarm(60)
    found = asyncio.run(vault.get_api_token(issued.hash))
    os._exit(0 if found == issued.metadata else 1)
_, status = os.waitpid(child, 0)
asyncio.run(vault.close())
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_has_threads_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _CODE, str(tmp_path / "vault.db")]
    assert subprocess.run(command, check=False).returncode == 0
