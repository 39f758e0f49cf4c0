"""A vault that is copied around, and killed on every leg."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from secrets import token_hex

import pytest

from fusion_store import OAuthTokenData, get_repository
from tests.servers.databases import VARIABLES, new_database, server_url
from tests.transfer.vaults import contents, furnish, storage

TENANTS = int(os.environ.get("FUSION_STORE_TEST_RING", "300"))
KILLS = 3

# The command line, telling on stdout how far it has come.
WATCHED = """
import sys
from contextlib import contextmanager
from fusion_store.cli import run
from fusion_store.cli._output import Output

@contextmanager
def progress(self, text, total=None):
    yield lambda count: print(count, flush=True)

Output.progress = progress
sys.exit(run(sys.argv[1:]))
"""


@contextmanager
def stops(folder: Path) -> Iterator[list[str]]:
    """The URLs of a ring, each an empty place that outlives a process: all backends that are at hand."""
    leveldb = [f"leveldb:///{folder}/stop"] if find_spec("plyvel") else []
    with ExitStack() as databases:
        servers = [databases.enter_context(new_database(server)) for server in VARIABLES if server_url(server)]
        yield [f"sqlite:///{folder}/first.db", *leveldb, *servers, f"sqlite:///{folder}/last.db"]


def fill(url: str, tenants: int) -> None:
    with get_repository("memory://") as made, storage(url) as store:
        for tenant in furnish(made, min(tenants, 50)):
            made.store_oauth_token(tenant, "large", OAuthTokenData(token_hex(10_000)))
        store.import_records(made.export_records())
        rest = tenants - min(tenants, 50)
        for start in range(0, rest, 500):
            with get_repository("memory://") as few:
                for _ in range(min(500, rest - start)):
                    few.store_oauth_token(few.add_api_token().hash, "github", OAuthTokenData(token_hex(1000)))
                store.import_records(few.export_records())


def is_complete(url: str) -> bool:
    """Whether a copy into that store came to its end, be it right before the kill: it would not be begun again."""
    with storage(url) as store:
        return store.read_mark("transfer") is None and store.stats().tenants > 0


def run_and_kill(source: str, destination: str, chance: random.Random) -> None:
    """Copy, and kill the process at a random moment."""
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, "copy", "env:SOURCE", "env:DESTINATION"],
        env={**os.environ, "SOURCE": source, "DESTINATION": destination},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    done, limit = 0, chance.randrange(max(TENANTS // KILLS, 1))
    for line in process.stdout:
        if not line.strip().isdecimal():
            break
        done += int(line)
        if done > limit:
            break
    time.sleep(chance.uniform(0, 0.02))
    process.kill()
    process.stdout.close()
    process.wait()


def run(command: str, source: str, destination: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fusion_store", command, "env:SOURCE", "env:DESTINATION"],
        env={**os.environ, "SOURCE": source, "DESTINATION": destination},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)


@pytest.mark.timeout(3600)
def test_a_vault_survives_a_ring_of_copies_that_are_killed_and_run_again(tmp_path: Path) -> None:
    chance, at_work = random.Random(), 0
    with stops(tmp_path) as ring:
        fill(ring[0], TENANTS)

        for source, destination in pairwise(ring):
            for _ in range(KILLS):
                run_and_kill(source, destination, chance)
                if is_complete(destination):
                    break
                at_work += 1
            else:
                run("copy", source, destination)
            run("verify", source, destination)

        run("verify", ring[0], ring[-1])
    with storage(ring[0]) as first, storage(ring[-1]) as last:
        assert last.stats().tenants == TENANTS
        assert contents(first) == contents(last)
        assert last.check().ok
    assert at_work >= len(ring) - 1, "kills must meet work"
