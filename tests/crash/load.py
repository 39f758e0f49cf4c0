"""Threads that change a store without a pause, and say before and after each call what it is and what came of it.

Each works on tenants of its own, so that it is known in which order they were changed. A line is an object in JSON: the
call, and in its second line what was ``done`` or why it ``failed``.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import fusion_store
from fusion_store import (
    CredentialType,
    FusionStoreError,
    OAuthTokenData,
    OutcomeUnknown,
    ServiceCredentials,
    TokenRepository,
    Unavailable,
    get_repository,
)

SERVICES: Final = ("github", "mail", "é/😀")
_HOUR: Final = timedelta(hours=1)
_PAUSE_SECONDS: Final = 0.01
_SIZES: Final = (1, 1, 1, 50, 400)


class Thread:
    """One thread's work; ``tenants`` maps the hash of each of its tenants to that of the tenant's token."""

    def __init__(self, vault: TokenRepository, name: str, tenants: dict[str, str], stop: threading.Event) -> None:
        self._vault = vault
        self._name = name
        self._tenants = tenants
        self._stop = stop
        self._chance = random.Random()
        self._calls = 0

    def run(self) -> None:
        """Work until it is told to stop, or the vault is closed."""
        acts = (self._store, self._store, self._store_credentials, self._refresh, self._delete, self._rotate)
        while not self._stop.is_set():
            if len(self._tenants) < 2 or self._chance.random() < 0.1:
                self._add()
            elif self._chance.random() < 0.1:
                self._delete_tenant(self._any())
            else:
                self._chance.choice(acts)(self._any())

    def _any(self) -> str:
        return self._chance.choice(list(self._tenants))

    def _value(self) -> tuple[str, int]:
        return str(uuid4()), self._chance.choice(_SIZES)

    def _do(self, tenant: str, doing: dict[str, Any], act: Callable[[], Any]) -> Any:
        """What the act answers; None when it failed. A tenant whose state isn't known is left alone from then on."""
        self._calls += 1
        call = {"thread": self._name, "call": self._calls, "tenant": tenant, **doing}
        tell(call)
        try:
            answer = act()
        except FusionStoreError as error:
            tell({**call, "failed": name_of(error)})
            if isinstance(error, OutcomeUnknown):
                self._tenants.pop(tenant, None)
            self._stop.wait(_PAUSE_SECONDS)
            return None
        tell({**call, "done": answer})
        return answer

    def _add(self) -> None:
        name = str(uuid4())

        def act() -> list[str]:
            issued = self._vault.add_api_token(name)
            return [issued.hash, issued.token]

        added = self._do(name, {"do": "add"}, act)
        if added is not None:
            self._tenants[added[0]] = added[0]

    def _rotate(self, tenant: str) -> None:
        def act() -> list[str]:
            issued = self._vault.rotate_api_token(self._tenants[tenant])
            return [issued.hash, issued.token]

        rotated = self._do(tenant, {"do": "rotate"}, act)
        if rotated is not None:
            self._tenants[tenant] = rotated[0]

    def _delete_tenant(self, tenant: str) -> None:
        if self._chance.random() < 0.5:
            gone = self._do(tenant, {"do": "delete tenant"}, lambda: self._vault.delete_tenant(tenant))
        else:
            token = self._tenants[tenant]
            gone = self._do(tenant, {"do": "delete tenant"}, lambda: self._vault.delete_api_token(token))
        if gone is not None:
            self._tenants.pop(tenant, None)

    def _store(self, tenant: str) -> None:
        service, (value, times) = self._chance.choice(SERVICES), self._value()
        self._do(
            tenant,
            {"do": "store", "at": f"oauth {service}", "value": value, "times": times},
            lambda: self._vault.store_oauth_token(tenant, service, OAuthTokenData(value * times)).version,
        )

    def _store_credentials(self, tenant: str) -> None:
        service, (value, times) = self._chance.choice(SERVICES), self._value()
        credentials = ServiceCredentials(CredentialType.API_KEY, {"key": value * times})
        self._do(
            tenant,
            {"do": "store", "at": f"credential {service}", "value": value, "times": times},
            lambda: self._vault.store_credentials(tenant, service, credentials).version,
        )

    def _refresh(self, tenant: str) -> None:
        service, (value, times) = self._chance.choice(SERVICES), self._value()
        try:
            claim = self._vault.claim_refresh(tenant, service, ttl=_HOUR)
        except FusionStoreError:
            return
        if claim is not None:
            self._do(
                tenant,
                {"do": "store", "at": f"oauth {service}", "value": value, "times": times},
                lambda: self._vault.commit_refresh(claim, OAuthTokenData(value * times)).version,
            )

    def _delete(self, tenant: str) -> None:
        service = self._chance.choice(SERVICES)
        self._do(
            tenant,
            {"do": "delete", "at": f"oauth {service}"},
            lambda: self._vault.delete_oauth_token(tenant, service),
        )


def name_of(error: FusionStoreError) -> str:
    """The name of an error's public class."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in fusion_store.__all__)


def tell(call: dict[str, Any]) -> None:
    """One line, short enough to stay in one piece among those of other threads and processes."""
    os.write(1, f"{json.dumps(call)}\n".encode())


def _opened(url: str, keys: list[str], stop: threading.Event) -> TokenRepository:
    """The store; a server that has just been killed is waited for."""
    while True:
        try:
            return get_repository(url, encryption_keys=keys or None)
        except Unavailable:
            if stop.wait(0.05):
                raise


def run(url: str, keys: list[str], threads: dict[str, dict[str, str]]) -> None:
    """Work until SIGTERM, with a thread for each name with its tenants."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with _opened(url, keys, stop) as vault:
        working = [threading.Thread(target=Thread(vault, name, owned, stop).run) for name, owned in threads.items()]
        for thread in working:
            thread.start()
        for thread in working:
            thread.join()
