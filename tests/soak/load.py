"""``python -m tests.soak.load URL SECONDS``: a host's day in a hurry, and what it takes of the machine meanwhile.

Threads issue, validate, store, read, refresh, rotate, revoke, check the health and purge, on a number of tenants that
stays the same, watched by an observer; changes are recorded for some seconds, attempts to authenticate go to a sink.
Prints one JSON document: how many operations of each kind, how many attempts, and samples of memory, file descriptors,
threads and the store's size over time.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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
from fusion_store.audit import AuditOptions
from fusion_store.layers import Key, ObservedTokenRepository, Observer

_THREADS = 4
_TENANTS_A_THREAD = 10
_VISITS = 5
_SAMPLES = 60
_MINUTE = timedelta(minutes=1)
_AUDIT_KEPT = timedelta(seconds=2)


def main(url: str, seconds: float) -> None:
    """Load the store at ``url`` for so long."""
    stop = threading.Event()
    samples: list[dict[str, float]] = []
    failures: list[str] = []
    observer, attempts = Counting(), Counter[str]()
    audit = AuditOptions(keep=_AUDIT_KEPT, attempts=lambda batch: attempts.update(a.outcome for a in batch))
    opened = get_repository(url, encryption_keys=[Key.generate().reveal()], cache=True, audit=audit)
    with ObservedTokenRepository(opened, observer) as vault:

        def live(number: int) -> None:
            try:
                for _ in _work(vault, random.Random(number)):
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
            samples.append(_sample() | {"size": vault.stats().bytes_on_disk / 1024 / 1024})
        stop.set()
        for thread in threads:
            thread.join()
        vault.purge_expired()
        stats = vault.stats()
    document = {
        "operations": observer.operations,
        "attempts": attempts,
        "failures": failures,
        "samples": samples,
        "tenants": stats.tenants,
    }
    sys.stdout.write(json.dumps(document))


class Counting(Observer):
    """Counts what succeeded."""

    def __init__(self) -> None:
        self.operations = Counter[str]()
        self._lock = threading.Lock()

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        yield
        with self._lock:
            self.operations[name] += 1

    def refresh(self, service: str) -> AbstractContextManager[object]:
        return self.operation("refresh")


def _work(vault: TokenRepository, chance: random.Random) -> Iterator[None]:
    """Goes on for ever; may be stopped wherever it yields."""
    tenants: deque[IssuedToken] = deque()
    while True:
        if len(tenants) == _TENANTS_A_THREAD:
            vault.delete_tenant(tenants.popleft().metadata.tenant_hash)
        tenants.append(vault.add_api_token("soak", scopes=("read",)))
        for _ in range(_VISITS):
            issued = chance.choice(tenants)
            _visit(vault, issued, chance)
            yield
        replaced = chance.randrange(len(tenants))
        tenants[replaced] = vault.rotate_api_token(tenants[replaced].hash, grace=chance.choice([timedelta(0), _MINUTE]))
        if chance.random() < 0.2:
            vault.purge_expired()


def _visit(vault: TokenRepository, issued: IssuedToken, chance: random.Random) -> None:
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
    vault.audit_log(tenant_hash=tenant)
    if chance.random() < 0.05:
        assert vault.health().ok


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
