"""Where the tests of other libraries lie, those that are in none of their packages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PEER_TESTS_VARIABLE: Final = "FUSION_STORE_PEER_TESTS"
"""Names checkouts or unpacked sdists, separated as in ``PATH``."""


def checkout_with(file: str) -> Path | None:
    """The one that holds a file; None where none does."""
    named = filter(None, os.environ.get(PEER_TESTS_VARIABLE, "").split(os.pathsep))
    folders = [Path(folder).resolve() for folder in named]
    return next((folder for folder in folders if (folder / file).is_file()), None)


KEY_VALUE: Final = checkout_with("tests/stores/base.py")
"""https://github.com/strawgate/py-key-value"""

MCP_SDK: Final = checkout_with("tests/server/mcpserver/auth/test_auth_integration.py")
"""https://github.com/modelcontextprotocol/python-sdk, or its sdist: ``pip download --no-deps --no-binary :all: mcp``"""
