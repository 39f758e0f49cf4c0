"""Many processes with many threads each work on one store; a ledger says what must have become of it."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Final

from fusion_store import TokenRepository
from fusion_store.layers import Keyring
from fusion_store.testing import ContractStore, ManualClock
from fusion_store.testing._worker import SHARED, Plan
from fusion_store.testing.contract._making import exported, new_tenant, tenant_of

PROCESSES: Final = 8
THREADS: Final = 8
ROUNDS: Final = 4
CODES: Final = 8
SECONDS: Final = 100
HOUR: Final = timedelta(hours=1)


def test_a_process_is_let_in_or_told_that_the_store_is_in_use(
    repository: TokenRepository, contract_store: ContractStore
) -> None:
    code = f"""
import fusion_store
try:
    with fusion_store.get_repository(create=False) as repository:
        print(repository.get_tenant({new_tenant(repository)!r}) is not None)
except (fusion_store.StoreLocked, fusion_store.StoreNotFound):
    print(False)
"""
    child = _start(contract_store, ["-c", code])
    output, errors = child.communicate(timeout=SECONDS)

    assert not child.returncode, errors
    assert output.strip() == str(contract_store.many_processes)


def test_eight_processes_of_eight_threads_lose_nothing(
    repository: TokenRepository, contract_store: ContractStore, clock: ManualClock, tmp_path: Path
) -> None:
    if not contract_store.many_processes:
        return
    tenant = new_tenant(repository)
    codes = [repository.create_auth_code(tenant, "code", ttl=HOUR) for _ in range(CODES)]
    plans = [
        Plan(number, THREADS, ROUNDS, tenant, codes, str(tmp_path), clock.now.isoformat())
        for number in range(PROCESSES)
    ]

    ledgers = _run_all(contract_store, plans)

    stores = PROCESSES * THREADS * ROUNDS
    assert len(ledgers) == PROCESSES * THREADS
    assert sorted(version for ledger in ledgers for version in ledger["versions"]) == list(range(1, stores + 1))
    shared = repository.get_oauth_token(tenant, SHARED)
    assert shared is not None
    assert shared.version == stores

    claims = sum(ledger["claims"] for ledger in ledgers)
    claimed = repository.get_oauth_token(tenant, "claimed")
    assert claimed is not None
    assert claimed.version == claims
    assert sorted(code for ledger in ledgers for code in ledger["redeemed"]) == sorted(codes)

    standing = {hash: token for ledger in ledgers for hash, token in ledger["standing"].items()}
    assert {tenant_of(record) for record in exported(repository)} - {"0" * 64} == {tenant, *standing}
    for hash, token in standing.items():
        validated = repository.validate_api_token(token)
        assert validated is not None
        assert validated.tenant_hash == hash
        assert repository.list_oauth_tokens(hash) == {}
        assert len(repository.list_credentials(hash)) == 1
    assert not any(repository.validate_api_token(token) for ledger in ledgers for token in ledger["deleted"])
    assert repository.check().ok


def _run_all(contract_store: ContractStore, plans: list[Plan]) -> list[dict[str, Any]]:
    """The ledgers of a process for each plan, all of which have to succeed."""
    children = [_start(contract_store, ["-m", "fusion_store.testing._worker"]) for _ in plans]
    try:
        for child, plan in zip(children, plans, strict=True):
            assert child.stdin is not None
            child.stdin.write(json.dumps(plan._asdict()))
            child.stdin.close()
            child.stdin = None
        outputs = [child.communicate(timeout=SECONDS) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert not any(child.returncode for child in children), [errors[-2000:] for _, errors in outputs if errors]
    return [ledger for output, _ in outputs for ledger in json.loads(output)]


def _start(contract_store: ContractStore, arguments: list[str]) -> Popen[str]:
    """An interpreter whose environment names the store and its keys."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FUSION_STORE_")}
    environment["FUSION_STORE_URL"] = contract_store.url
    keys = contract_store.options.get("encryption_keys")
    if isinstance(keys, Keyring):
        environment["FUSION_STORE_KEYS"] = ",".join(key.reveal() for key in keys)
        environment["FUSION_STORE_CIPHER"] = str(keys.cipher)
    return Popen([sys.executable, *arguments], env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
