"""After a fork the child begins with nothing in memory, and watches by itself what others revoke."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, sys, threading
from fusion_store import get_repository

def watchers():
    return [thread.name for thread in threading.enumerate()].count("fusion-store-cache")

vault = get_repository(sys.argv[1], cache=True)
issued = vault.add_api_token("forked")
assert vault.validate_api_token(issued.token) and vault.recall_api_token(issued.token)
ready, done = os.pipe(), os.pipe()
child = os.fork()
if not child:
    assert vault.recall_api_token(issued.token) is None and watchers() == 0
    assert vault.validate_api_token(issued.token) and vault.recall_api_token(issued.token)
    assert watchers() == 1
    os.write(ready[1], b"!")
    os.read(done[0], 1)
    while vault.validate_api_token(issued.token):
        pass
    vault.close()
    assert watchers() == 0
    os._exit(0)
os.read(ready[0], 1)
assert vault.delete_api_token(issued.hash) and vault.validate_api_token(issued.token) is None
os.write(done[1], b"!")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
further = vault.add_api_token()
assert vault.validate_api_token(further.token) and vault.recall_api_token(further.token)
vault.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_forked_child_begins_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vault.db"
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", CODE, url], check=True, timeout=100)
