"""``python -m tests.soak.load URL SECONDS``: a host's day in a hurry, and what it takes of the machine meanwhile.

Threads issue, validate, store, read, refresh, rotate, revoke and purge, on a number of tenants that stays the same.
Prints one JSON document: how many operations, and samples of memory, file descriptors and threads over time.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from fusion_store import (
    CredentialType,
    IssuedToken,
    OAuthTokenData,
    ServiceCredentials,
    TokenRepository,
    get_repository,
)
from fusion_store.layers import Key

_THREADS = 4
_TENANTS_A_THREAD = 25
_SAMPLES = 60
_MINUTE = timedelta(minutes=1)


def main(url: str, seconds: float) -> None:
    """Load the store at ``url`` for so long."""
    stop = threading.Event()
    counts = [0] * _THREADS
    samples: list[dict[str, float]] = []
    failures: list[str] = []
    with get_repository(url, encryption_keys=[Key.generate().reveal()], cache=True) as vault:

        def live(number: int) -> None:
            try:
                for done in _work(vault, random.Random(number)):
                    counts[number] = done
                    if stop.is_set():
                        return
            except BaseException as error:
                failures.append(f"{type(error).__name__}: {error}")
                raise

        threads = [threading.Thread(target=live, args=(number,)) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        for number in range(1, _SAMPLES + 1):
            stop.wait(max(0.0, began + seconds * number / _SAMPLES - time.monotonic()))
            samples.append(_sample())
        stop.set()
        for thread in threads:
            thread.join()
        vault.purge_expired()
        stats = vault.stats()
    document = {"operations": sum(counts), "failures": failures, "samples": samples, "tenants": stats.tenants}
    sys.stdout.write(json.dumps(document))


def _work(vault: TokenRepository, chance: random.Random) -> Iterator[int]:
    """Goes on for ever; gives how many operations there were so far."""
    tenants: deque[IssuedToken] = deque()
    done = 0
    while True:
        if len(tenants) == _TENANTS_A_THREAD:
            vault.delete_tenant(tenants.popleft().metadata.tenant_hash)
        tenants.append(vault.add_api_token("soak", scopes=("read",)))
        for _ in range(20):
            issued = chance.choice(tenants)
            done += _visit(vault, issued, chance)
            yield done
        replaced = chance.randrange(len(tenants))
        tenants[replaced] = vault.rotate_api_token(tenants[replaced].hash, grace=chance.choice([timedelta(0), _MINUTE]))
        if chance.random() < 0.05:
            vault.purge_expired()
        done += 3


def _visit(vault: TokenRepository, issued: IssuedToken, chance: random.Random) -> int:
    caller = vault.validate_api_token(issued.token)
    assert caller is not None
    tenant, service = caller.tenant_hash, f"service {chance.randrange(3)}"
    vault.validate_api_token(issued.token[::-1])
    claim = vault.claim_refresh(tenant, service, ttl=_MINUTE)
    assert claim is not None
    vault.commit_refresh(claim, OAuthTokenData("a" * 700, "r" * 700))
    for _ in range(10):
        vault.validate_api_token(issued.token)
        vault.get_oauth_token(tenant, service)
    vault.store_credentials(tenant, service, ServiceCredentials(CredentialType.API_KEY, {"key": "k"}))
    vault.redeem_auth_code(vault.create_auth_code(tenant, service, ttl=_MINUTE))
    vault.list_oauth_tokens(tenant)
    return 28


def _sample() -> dict[str, float]:
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "memory": int(status["RssAnon"].split()[0]) / 1024,
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 # Path.iterdir stumbles over the one it opens
        "threads": threading.active_count(),
    }


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
