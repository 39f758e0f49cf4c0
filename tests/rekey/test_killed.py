"""A key rotation that is killed again and again, beside readers."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from fusion_store import OAuthTokenData, TokenRepository, get_repository
from fusion_store._registry import find_backend
from fusion_store.backend import OpenOptions
from fusion_store.layers import Key, Keyring
from fusion_store.layers.rekey import count_seals, rotate_keys

KILLS = int(os.environ.get("FUSION_STORE_TEST_KILLS", "5"))
TENANTS, SERVICES = 400, 5

ROTATION = """
import sys
from fusion_store._registry import find_backend, find_keyring
from fusion_store.backend import OpenOptions
from fusion_store.layers.rekey import rotate_keys
backend, url = find_backend(sys.argv[1])
with backend.open(url, OpenOptions()) as storage:
    print("ready", flush=True)
    rotate_keys(storage, find_keyring())
"""


def read_all(repository: TokenRepository, tenants: list[str], stop: threading.Event, failures: list[str]) -> None:
    choose = random.Random(7)
    while not stop.wait(0.001):
        tenant, service = choose.choice(tenants), f"service {choose.randrange(SERVICES)}"
        try:
            token = repository.get_oauth_token(tenant, service)
        except Exception as error:
            failures.append(repr(error))
            return
        if token is None or token.access_token != f"{tenant} {service}":
            failures.append(f"{tenant} {service}: {token}")
            return


def test_a_rotation_killed_anywhere_leaves_every_record_readable_and_a_rerun_converges(tmp_path: Path) -> None:
    url, keys = f"sqlite:///{tmp_path}/vault.db", [Key.generate(), Key.generate()]
    with get_repository(url, encryption_keys=Keyring(keys)) as repository:
        tenants = [repository.add_api_token().hash for _ in range(TENANTS)]
        with get_repository("memory://", encryption_keys=Keyring(keys)) as made:
            made.import_records(repository.export_records())
            for tenant in tenants:
                for number in range(SERVICES):
                    made.store_oauth_token(tenant, f"service {number}", OAuthTokenData(f"{tenant} service {number}"))
            repository.import_records(made.export_records())
    chance, mid_work = random.Random(), 0
    with get_repository(url, encryption_keys=Keyring(keys)) as repository:
        stop, failures = threading.Event(), list[str]()
        reader = threading.Thread(target=read_all, args=(repository, tenants, stop, failures))
        reader.start()
        for _ in range(KILLS):
            process = subprocess.Popen(
                [sys.executable, "-c", ROTATION, url],
                env=os.environ | {"FUSION_STORE_KEYS": ",".join(key.reveal() for key in keys)},
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.4))
            mid_work += process.poll() is None
            process.kill()
            process.communicate()
            assert failures == []
            if len(count_seals(repository.inner).key_ids()) == 1:  # type: ignore[attr-defined]
                # All of it is done: from here the other way, so that the next kill hits work too.
                keys.reverse()
        stop.set()
        reader.join()
        assert failures == []
    assert mid_work > KILLS / 2
    backend, parsed = find_backend(url)
    with backend.open(parsed, OpenOptions()) as storage:
        outcome = rotate_keys(storage, Keyring(keys))
    assert outcome.failed == []
    assert outcome.unneeded == [keys[1].key_id]
    with get_repository(url, encryption_keys=Keyring([keys[0]])) as repository:
        for tenant in tenants:
            assert len(repository.list_oauth_tokens(tenant)) == SERVICES
        assert repository.check().ok
