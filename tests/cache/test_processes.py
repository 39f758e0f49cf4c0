"""A token that another process revokes is refused within the bound, however slow the machine is just then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from fusion_store import get_repository
from fusion_store.layers import CachedTokenRepository, CacheOptions
from tests.servers.databases import emptied_database, server_url

BOUND = timedelta(seconds=0.2)
TOKENS = int(os.environ.get("FUSION_STORE_TEST_REVOCATIONS", "20"))

# Says when each was revoked, in the monotonic time that all processes of a machine share.
REVOKER = """
import sys, time
from fusion_store import get_repository
with get_repository(sys.argv[1], create=False) as vault:
    print("ready", flush=True)
    for number, hash in enumerate(sys.stdin):
        match number % 3:
            case 0: done = vault.delete_api_token(hash.strip())
            case 1: done = vault.delete_tenant(hash.strip())
            case 2: done = vault.rotate_api_token(hash.strip())
        assert done
        print(time.monotonic(), flush=True)
"""


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder}/vault.db"


STORES: dict[str, Callable[[Path], str]] = {"sqlite": sqlite} | {
    name: lambda _, name=name: emptied_database(name)  # type: ignore[misc]
    for name in ("postgresql", "mariadb")
    if server_url(name)
}


@pytest.mark.parametrize("store", STORES)
def test_tokens_that_another_process_revokes_are_refused_within_the_bound(store: str, tmp_path: Path) -> None:
    url = STORES[store](tmp_path)
    with get_repository(url, cache=CacheOptions(bound=BOUND)) as vault:
        assert isinstance(vault, CachedTokenRepository)
        issued = [vault.add_api_token() for _ in range(TOKENS)]
        revoker = Popen([sys.executable, "-c", REVOKER, url], stdin=PIPE, stdout=PIPE, text=True)
        try:
            assert revoker.stdin is not None
            assert revoker.stdout is not None
            assert revoker.stdout.readline() == "ready\n"
            remembered = 0
            for token in issued:
                vault.validate_api_token(token.token)
                remembered += vault.recall_api_token(token.token) is not None
                revoker.stdin.write(f"{token.hash}\n")
                revoker.stdin.flush()
                accepted = began = time.monotonic()
                while vault.validate_api_token(token.token) is not None:
                    accepted, began = began, time.monotonic()
                revoked = float(revoker.stdout.readline())

                assert accepted <= revoked + BOUND.total_seconds()
            assert remembered > TOKENS / 2
        finally:
            revoker.communicate()
        assert revoker.returncode == 0
