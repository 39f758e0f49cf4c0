"""Where py-key-value's own tests lie."""

import os

PEER_TESTS_VARIABLE = "FUSION_STORE_PEER_TESTS"
PEER_TESTS = os.environ.get(PEER_TESTS_VARIABLE)
"""A checkout of https://github.com/strawgate/py-key-value; its tests are in no package."""
