"""How far the model checks go, and what they run on."""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from typing import Final

from tests.crash.surroundings import MEMORY, SEED
from tests.servers.databases import VARIABLES, server_url

_scale = os.environ.get("FUSION_STORE_TEST_MODEL", "6x25").partition("x")
RUNS: Final = int(_scale[0])
"""How many histories are tried: ``FUSION_STORE_TEST_MODEL``, as ``RUNSxSTEPS``."""
STEPS: Final = int(_scale[2])
"""How many operations each of them has at most."""

ANEW: Final = "FUSION_STORE_TEST_FUZZ" in os.environ
"""Whether they are other ones each time."""
EXAMPLES: Final = int(os.environ.get("FUSION_STORE_TEST_FUZZ", "40"))
"""How many inputs each test in ``tests/fuzz`` makes up."""

BACKENDS: Final = [
    "memory",
    "sqlite",
    *["leveldb"] * (find_spec("plyvel") is not None),
    *[server for server in VARIABLES if server_url(server)],
]
LAYERS: Final = ("plain", "encrypted", "cached")
TTL: Final = timedelta(hours=1)

__all__ = ["ANEW", "BACKENDS", "EXAMPLES", "LAYERS", "MEMORY", "RUNS", "SEED", "STEPS", "TTL"]
