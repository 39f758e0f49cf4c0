"""One of several processes that work on the same store at once; see the contract's ``_processes``.

Run with a plan as JSON on stdin; the store and its keys come from the environment. Prints what it did as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any, Final, NamedTuple

from fusion_store import CredentialType, OAuthTokenData, ServiceCredentials, TokenRepository, get_repository

SHARED: Final = "shared"
"""The service that every thread stores and claims."""

_HOUR: Final = timedelta(hours=1)


class Plan(NamedTuple):
    """What each process does. ``folder`` is where the holder of a claim shows itself, ``now`` the time in ISO 8601."""

    process: int
    threads: int
    rounds: int
    tenant: str
    codes: list[str]
    folder: str
    now: str


class Thread:
    """One thread's work, and the ledger of what was acknowledged to it."""

    def __init__(self, repository: TokenRepository, plan: Plan, number: int) -> None:
        self._repository = repository
        self._plan = plan
        self._name = f"{plan.process}-{number}"
        self.ledger: dict[str, Any] = {"versions": [], "redeemed": [], "standing": {}, "deleted": [], "claims": 0}

    def work(self) -> dict[str, Any]:
        """Do everything, ``rounds`` times."""
        for round in range(self._plan.rounds):
            self._use_a_tenant_of_its_own(keep=bool(round % 2))
            self._store()
            self._claim()
        for code in self._plan.codes:
            if self._repository.redeem_auth_code(code) is not None:
                self.ledger["redeemed"].append(code)
        return self.ledger

    def _use_a_tenant_of_its_own(self, *, keep: bool) -> None:
        issued = self._repository.add_api_token(self._name)
        self._repository.store_oauth_token(issued.hash, "own", OAuthTokenData(self._name))
        credentials = ServiceCredentials(CredentialType.API_KEY, {"of": self._name})
        self._repository.store_credentials(issued.hash, "own", credentials)
        if keep:
            self._repository.delete_oauth_token(issued.hash, "own")
            self.ledger["standing"][issued.hash] = issued.token
        else:
            assert self._repository.delete_tenant(issued.hash)
            self.ledger["deleted"].append(issued.token)

    def _store(self) -> None:
        stored = self._repository.store_oauth_token(self._plan.tenant, SHARED, OAuthTokenData(self._name))
        self.ledger["versions"].append(stored.version)

    def _claim(self) -> None:
        claim = self._repository.claim_refresh(self._plan.tenant, "claimed", ttl=_HOUR, owner=self._name)
        if claim is None:
            return
        holder = Path(self._plan.folder, "holder")
        holder.touch(exist_ok=False)
        self.ledger["claims"] += 1
        holder.unlink()
        self._repository.commit_refresh(claim, OAuthTokenData(self._name))


def run(plan: Plan) -> list[dict[str, Any]]:
    """The ledgers of all threads, begun at once."""
    start = Barrier(plan.threads)
    now = datetime.fromisoformat(plan.now)
    with get_repository(create=False, clock=lambda: now) as repository, ThreadPoolExecutor(plan.threads) as pool:

        def begin(number: int) -> dict[str, Any]:
            start.wait(60)
            return Thread(repository, plan, number).work()

        return list(pool.map(begin, range(plan.threads)))


def main(read: Callable[[], str] = sys.stdin.read) -> None:
    sys.stdout.write(json.dumps(run(Plan(**json.loads(read())))))


if __name__ == "__main__":
    main()
