"""What was attempted and what was acknowledged, kept by whoever survives; and whether a store agrees with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fusion_store import TokenRepository
from tests.crash.surroundings import wait_for

UNKNOWN: Final = "OutcomeUnknown"
NOTHING_CHANGED: Final = frozenset({"StorageFull", "StorageIO", "Busy", "Unavailable"})
_NEW: Final = "a token that nobody was told of"


@dataclass(frozen=True)
class Tenant:
    """What a tenant holds: its one token's hash, and values by place."""

    token: str
    values: dict[str, str] = field(default_factory=dict)


State = Tenant | None


class Ledger:
    """What each tenant may look like: one state when all calls on it were answered, two when the last one wasn't."""

    def __init__(self) -> None:
        self.states: dict[str, list[State]] = {}
        self.owners: dict[str, str] = {}
        self.dead_tokens: set[str] = set()
        self.errors: set[str] = set()
        self.acknowledged = 0
        self._pending: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}

    def note(self, call: dict[str, Any]) -> None:
        """Take down a line of ``tests.crash.load``."""
        tenant = call["tenant"]
        if "failed" in call:
            self.errors.add(call["failed"])
            assert call["failed"] in {UNKNOWN, *NOTHING_CHANGED}, call
            if self._pending.pop(tenant) and call["failed"] != UNKNOWN:
                del self.states[tenant][1:]
        elif "done" in call:
            self.acknowledged += 1
            del self._pending[tenant]
            self._acknowledge(tenant, call)
        else:
            self._pending[tenant] = call
            self.owners[tenant] = call["thread"]
            self.states.setdefault(tenant, [None])
            assert len(self.states[tenant]) == 1, call
            self.states[tenant].append(_after(self.states[tenant][0], call))

    def _acknowledge(self, tenant: str, call: dict[str, Any]) -> None:
        before, after = self.states[tenant]
        if call["do"] == "add":
            del self.states[tenant]
            tenant = call["done"][0]
            self.owners[tenant] = call["thread"]
            after = Tenant(call["done"][0])
        elif call["do"] == "rotate":
            assert isinstance(after, Tenant)
            after = replace(after, token=call["done"][0])
        elif call["do"] == "delete tenant":
            assert call["done"] is True, call
        if isinstance(before, Tenant) and (after is None or after.token != before.token):
            self.dead_tokens.add(before.token)
        self.states[tenant] = [after]

    def wait_for_calls(self, number: int) -> None:
        """Until so many more calls have been acknowledged."""
        wanted = self.acknowledged + number
        wait_for(lambda: self.acknowledged >= wanted)

    def living(self) -> int:
        """How many tenants stand."""
        return sum(states[0] is not None for states in self.states.values())

    def of_thread(self, thread: str) -> dict[str, str]:
        """The tenants that a thread goes on with, and their tokens; to be asked after ``settle``."""
        return {
            tenant: state.token
            for tenant, (state, *_) in self.states.items()
            if state is not None and self.owners[tenant] == thread
        }

    def settle(self, vault: TokenRepository) -> None:
        """Compare with a store, and take over what it shows of those calls that weren't answered."""
        report = vault.check()
        assert report.ok, report
        self._pending.clear()
        found = {hash: (name, tenant) for hash, name, tenant in _read(vault)}
        assert not self.dead_tokens & {tenant.token for _, tenant in found.values()}, "a deleted token came back"
        for hash, (name, tenant) in found.items():
            if hash not in self.states:
                assert name in self.states, f"tenant {hash[:16]} came back"
                assert tenant == Tenant(hash), f"tenant {hash[:16]} was never filled"
                self.owners[hash] = self.owners[name]
                self.states[hash] = [tenant]
        for hash in [name for name in self.states if "-" in name]:
            del self.states[hash]
        for hash, states in self.states.items():
            seen = found[hash][1] if hash in found else None
            assert any(_agrees(seen, state) for state in states), (
                f"tenant {hash[:16]} is {seen}, and should be one of {states}"
            )
            self.dead_tokens |= {state.token for state in states if state and state != seen} - {_NEW}
            self.dead_tokens -= {seen.token} if seen else set()
            self.states[hash] = [seen]


def _after(before: State, call: dict[str, Any]) -> State:
    if call["do"] == "add":
        return Tenant(_NEW)
    if call["do"] == "delete tenant":
        return None
    assert before is not None, call
    if call["do"] == "rotate":
        return replace(before, token=_NEW)
    values = dict(before.values)
    if call["do"] == "store":
        values[call["at"]] = call["value"] * call["times"]
    else:
        values.pop(call["at"], None)
    return replace(before, values=values)


def _agrees(seen: State, expected: State) -> bool:
    if seen is None or expected is None:
        return seen is expected
    return seen.values == expected.values and expected.token in (seen.token, _NEW)


def _read(vault: TokenRepository) -> Iterator[tuple[str, str, Tenant]]:
    """The hash, the token's description and the contents of every tenant; exactly one token opens each."""
    tokens = {token.tenant_hash: token for token in vault.iter_api_tokens()}
    after = None
    while tenants := vault.list_tenants(after=after):
        for tenant in tenants:
            assert tenant.api_tokens == 1, f"half a tenant: {tenant}"
            oauth = vault.list_oauth_tokens(tenant.tenant_hash)
            values = {f"oauth {service}": token.access_token for service, token in oauth.items()}
            for (service, _), credentials in vault.list_credentials(tenant.tenant_hash).items():
                values[f"credential {service}"] = credentials.data["key"]
            token = tokens.pop(tenant.tenant_hash)
            yield tenant.tenant_hash, token.description, Tenant(token.hash, values)
        after = tenants[-1].cursor
    assert not tokens, "tokens of no tenant"
