"""Uvicorn with two worker processes, as an operator starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]


@contextmanager
def workers(log: Path, **environment: str) -> Iterator[int]:
    """Answers the port; what the processes write goes to ``log``."""
    command = [sys.executable, "-m", "uvicorn", "--factory", "tests.integrations.load.applications:make"]
    options = ["--port", "0", "--workers", "2", "--no-access-log", "--no-use-colors"]
    with log.open("wb") as written:
        server = subprocess.Popen(
            [*command, *options], cwd=ROOT, env=os.environ | environment, stdout=written, stderr=written
        )
    try:
        yield _port(server, log)
    finally:
        server.terminate()
        server.wait(30)


def _port(server: subprocess.Popen[bytes], log: Path) -> int:
    while server.poll() is None:
        if (said := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text())) and log.read_text().count(
            "startup complete"
        ) == 2:
            return int(said[1])
        time.sleep(0.05)
    raise AssertionError(log.read_text())
