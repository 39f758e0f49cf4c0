"""What a driver is missing for is left out, and the summary says so: LevelDB's has wheels for some Pythons only."""

from importlib.util import find_spec

import pytest

_NO_DRIVER = find_spec("plyvel") is None
_NO_KMS = not all(find_spec(name) for name in ("boto3", "moto", "flask", "flask_cors"))

collect_ignore = ["leveldb"] * _NO_DRIVER + ["kms"] * _NO_KMS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _NO_DRIVER:
        terminalreporter.section("LevelDB was left out")
        terminalreporter.line("Its driver, plyvel, isn't installed and has no wheel for every Python. To build it:")
        terminalreporter.line("    apt install libleveldb-dev g++ python3-dev")
        terminalreporter.line("    pip install plyvel")
    if _NO_KMS:
        terminalreporter.section("AWS KMS was left out")
        terminalreporter.line("boto3 or the server its tests run against isn't installed. To install them:")
        terminalreporter.line("    pip install boto3 'moto[kms]' flask flask-cors")
