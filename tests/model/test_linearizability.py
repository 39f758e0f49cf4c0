"""What several clients see of one place at once could have happened one after the other."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from fusion_store import TokenRepository, get_repository
from tests.model.clients import CLIENTS, Place, Plan, history, in_process, in_thread, keyring
from tests.model.linearizability import Spot, is_linearizable
from tests.model.surroundings import BACKENDS, RUNS, SEED, TTL
from tests.servers.databases import emptied_database

HISTORIES = 2 * RUNS
KINDS = [name for backend in BACKENDS for name in (backend, f"{backend}+encrypted")]
OF_PROCESSES = [backend for backend in BACKENDS if backend not in ("memory", "leveldb")]


def url_of(kind: str, folder: Path) -> str:
    backend = kind.partition("+")[0]
    if backend == "memory":
        return "memory://"
    if backend in ("sqlite", "leveldb"):
        return f"{backend}:///{folder}/vault"
    return emptied_database(backend, "linearizability")


def is_sealed(kind: str) -> bool:
    return kind.endswith("+encrypted")


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads that take turns often."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def open_at(url: str, kind: str) -> TokenRepository:
    return get_repository(url, encryption_keys=keyring(sealed=is_sealed(kind)))


def furnish(repository: TokenRepository, count: int) -> list[Place]:
    """So many places, each with a code for every other operation."""
    tenant = repository.add_api_token().hash
    services = [f"place {number}" for number in range(count)]
    return [
        (tenant, service, [repository.create_auth_code(tenant, service, ttl=TTL) for _ in range(2)])
        for service in services
    ]


def judge(events: list[dict[str, Any]], places: list[Place], kind: str) -> None:
    """Hold what was told of each place against what can be."""
    of_service: dict[str, list[dict[str, Any]]] = defaultdict(list)
    current: dict[int, str] = {}
    for event in events:
        service = current[event["client"]] = event.get("service") or current[event["client"]]
        of_service[service].append(event)
    for _, service, codes in places:
        operations = history(of_service[service])
        explained = is_linearizable(operations, Spot(codes=frozenset(codes)))
        told = "\n".join(map(str, sorted(operations, key=lambda operation: operation.began)))
        assert explained, f"{kind}, FUSION_STORE_TEST_SEED={SEED}:\n{told}"


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS)
def test_threads_see_one_order(kind: str, place: Path, switching: None) -> None:
    with open_at(url_of(kind, place), kind) as repository, ThreadPoolExecutor(CLIENTS) as pool:
        places, ready = furnish(repository, HISTORIES), Barrier(CLIENTS)
        plan = Plan("", is_sealed(kind), places, SEED)
        clients = [pool.submit(in_thread, plan, repository, number, ready) for number in range(CLIENTS)]
        events = [event for client in clients for event in client.result()]
    judge(events, places, kind)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("killed_at", [None, 7])
@pytest.mark.parametrize("kind", OF_PROCESSES)
def test_processes_see_one_order_also_when_one_is_killed(kind: str, killed_at: int | None, place: Path) -> None:
    url, context = url_of(kind, place), get_context("spawn")
    with open_at(url, kind) as repository:
        places = furnish(repository, 1 if killed_at else HISTORIES)
    ready, plan = context.Barrier(CLIENTS), Plan(url, is_sealed(kind), places, SEED)
    logs = [place / f"{number}.log" for number in range(CLIENTS)]
    clients = [context.Process(target=in_process, args=(plan, number, ready, log)) for number, log in enumerate(logs)]
    for client in clients:
        client.start()
    if killed_at:
        while not (logs[0].exists() and logs[0].read_bytes().count(b"\n") >= killed_at) and clients[0].is_alive():
            time.sleep(0)
        clients[0].kill()
    for client in clients:
        client.join()
    assert [client.exitcode for client in clients[1:]] == [0] * (CLIENTS - 1)
    events = [json.loads(line) for log in logs for line in log.read_text().splitlines(keepends=True) if "\n" in line]
    judge(events, places, kind)
