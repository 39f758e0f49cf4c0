"""LevelDB's driver has wheels for some Pythons only: without it its tests are left out, and the summary says so."""

from importlib.util import find_spec

import pytest

_NO_DRIVER = find_spec("plyvel") is None

collect_ignore = ["leveldb"] if _NO_DRIVER else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _NO_DRIVER:
        terminalreporter.section("LevelDB was left out")
        terminalreporter.line("Its driver, plyvel, isn't installed and has no wheel for every Python. To build it:")
        terminalreporter.line("    apt install libleveldb-dev g++ python3-dev")
        terminalreporter.line("    pip install plyvel")
