from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.audit.raw import RawLevelDB, RawSQLite, RawTrail

KINDS = {"sqlite": RawSQLite, **({"leveldb": RawLevelDB} if find_spec("plyvel") else {})}


@pytest.fixture(params=KINDS)
def raw(request: pytest.FixtureRequest, tmp_path: Path) -> RawTrail:
    """The trail of a vault that doesn't stand yet."""
    return KINDS[request.param](tmp_path)
