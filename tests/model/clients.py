"""Clients that work on one place at once, and write down when each call began and what it came to."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from fusion_store import (
    FusionStoreError,
    OAuthTokenData,
    OutcomeUnknown,
    RefreshClaim,
    StoreError,
    TokenRepository,
    get_repository,
)
from fusion_store.layers import Key, Keyring
from tests.model.linearizability import Operation, Result
from tests.model.surroundings import TTL

CLIENTS: Final = 4
OPERATIONS: Final = 12
_NAMES: Final = [
    "get", "get", "store", "store", "store new", "delete", "claim", "claim", "commit", "release", "redeem",
]  # fmt: skip


class Ready(Protocol):
    """Where clients wait for each other: a barrier of threads or of processes."""

    def wait(self, timeout: float | None = None) -> int: ...


Tell = Callable[[dict[str, Any]], None]


class Client:
    """One of several. ``tell`` takes down each beginning and each end."""

    def __init__(self, repository: TokenRepository, number: int, tell: Tell) -> None:
        self._repository = repository
        self._number = number
        self._tell = tell
        self._claim: RefreshClaim | None = None

    def work(self, tenant: str, service: str, codes: list[str], source: random.Random) -> None:
        """Do a dozen operations on a place."""
        self._claim = None
        for number in range(OPERATIONS):
            name = source.choice(_NAMES)
            if name in ("commit", "release") and self._claim is None:
                name = "claim"
            code = source.choice(codes)
            value = f"{self._number}.{number}"
            held = self._claim
            fence = held.fence if held else 0
            argument = {"commit": [fence, value], "release": fence, "redeem": code}.get(name, value)
            began = {"client": self._number, "name": name, "argument": argument, "service": service}
            self._tell(began | {"began": time.monotonic_ns()})
            try:
                result = self._do(name, tenant, service, value, code)
            except StoreError as error:
                if isinstance(error, OutcomeUnknown) or not error.retryable:
                    raise
                result = ("Busy",)
            except FusionStoreError as error:
                result = (type(error).__name__,)
            self._tell({"client": self._number, "ended": time.monotonic_ns(), "result": result})

    def _do(self, name: str, tenant: str, service: str, value: str, code: str) -> Result:  # noqa: PLR0911 - one for each operation
        vault, claim, token = self._repository, self._claim, OAuthTokenData(value)
        match name:
            case "get":
                found = vault.get_oauth_token(tenant, service)
                return ("token", found.access_token, found.version) if found else ("token", None, 0)
            case "store":
                return "stored", vault.store_oauth_token(tenant, service, token).version
            case "store new":
                return "stored", vault.store_oauth_token(tenant, service, token, expected_version=0).version
            case "delete":
                return "deleted", vault.delete_oauth_token(tenant, service)
            case "claim":
                self._claim = vault.claim_refresh(tenant, service, ttl=TTL) or claim
                taken = self._claim if self._claim is not claim else None
                return ("claim", taken.fence, taken.token_version) if taken else ("claim", 0, 0)
            case "redeem":
                return "redeemed", vault.redeem_auth_code(code) is not None
        assert claim is not None
        self._claim = None
        if name == "commit":
            return "stored", vault.commit_refresh(claim, token).version
        vault.release_refresh(claim)
        return ("released",)


def history(events: list[dict[str, Any]]) -> list[Operation]:
    """What clients told, as operations; what was refused because the store was busy changed nothing and is left out."""
    done: list[Operation] = []
    under_way: dict[int, dict[str, Any]] = {}
    for event in events:
        client = event["client"]
        if "began" in event:
            under_way[client] = event
            continue
        begun = under_way.pop(client)
        if event["result"][0] != "Busy":
            done.append(_operation(begun, event["ended"], tuple(event["result"])))
    return [*done, *(_operation(begun, None, None) for begun in under_way.values())]


def _operation(begun: dict[str, Any], ended: int | None, result: Result | None) -> Operation:
    argument = begun["argument"]
    held = tuple(argument) if isinstance(argument, list) else argument
    return Operation(begun["client"], begun["name"], held, begun["began"], ended, result)


Place = tuple[str, str, list[str]]
"""A tenant, a service and auth codes: what one history is about."""


class Plan(NamedTuple):
    """What all clients work on."""

    url: str
    is_sealed: bool
    places: list[Place]
    seed: object

    def open(self) -> TokenRepository:
        """Open the store; the caller closes it."""
        return get_repository(self.url, create=False, encryption_keys=keyring(sealed=self.is_sealed))


def keyring(*, sealed: bool) -> Keyring:
    """The keys of a store."""
    return Keyring([Key(bytes(32))] if sealed else [])


def in_process(plan: Plan, number: int, ready: Ready, log: Path) -> None:
    """One client as a process of its own; what it tells is in the log before the call begins."""
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def tell(event: dict[str, Any]) -> None:
        os.write(descriptor, json.dumps(event).encode() + b"\n")

    with plan.open() as repository:
        _work(plan, Client(repository, number, tell), number, ready)
    os.close(descriptor)


def in_thread(plan: Plan, repository: TokenRepository, number: int, ready: Ready) -> list[dict[str, Any]]:
    """One client as a thread; answers what it told."""
    events: list[dict[str, Any]] = []
    _work(plan, Client(repository, number, events.append), number, ready)
    return events


def _work(plan: Plan, client: Client, number: int, ready: Ready) -> None:
    for tenant, service, codes in plan.places:
        ready.wait(60)
        client.work(tenant, service, codes, random.Random(repr((plan.seed, service, number))))
