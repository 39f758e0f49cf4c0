"""Connections that are cut at each message between the vault and its server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import make_url

from fusion_store import FusionStoreError, OutcomeUnknown, TokenRepository, Unavailable, get_repository
from fusion_store.backend import ExportedRecord
from fusion_store.testing import ManualClock
from tests.chaos.conftest import empty
from tests.chaos.instances import Instance
from tests.crash.operations import OPERATIONS, Facts, Scene, furnish, go_on
from tests.crash.stores import Store, state
from tests.crash.surroundings import POINTS, chance, some
from tests.servers.proxy import Proxy, proxy_to

NAMES = [
    "add",
    "store",
    "store credentials",
    "delete a token",
    "delete a tenant",
    "delete a tenant's last token",
    "rotate",
    "claim",
    "refresh",
    "create a code",
    "redeem",
    "import",
    "purge",
]
MAIN = ["store", "delete a tenant", "refresh"]


@dataclass
class Contents:
    """What a vault is filled with before each trial."""

    records: list[ExportedRecord]
    facts: Facts


@pytest.fixture(scope="module")
def contents() -> Contents:
    with get_repository("memory://", clock=ManualClock()) as vault:
        facts = furnish(vault)
        return Contents(list(vault.export_records()), facts)


@pytest.fixture
def proxy(instance: Instance) -> Iterator[Proxy]:
    with proxy_to("127.0.0.1", instance.port) as opened:
        yield opened


def filled(url: str, contents: Contents) -> None:
    empty(url)
    with get_repository(url, clock=ManualClock()) as vault:
        vault.import_records(contents.records)


def held(url: str, contents: Contents) -> list[str]:
    with get_repository(url, clock=ManualClock()) as vault:
        return state(vault, contents.facts.names())


_NO_FILES = Store("server", Path())


class Trial:
    """An operation through a proxy, prepared while that cuts nothing."""

    def __init__(self, name: str, url: str, proxy: Proxy, contents: Contents) -> None:
        filled(url, contents)
        through = make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
        self._opened: list[TokenRepository] = []
        self._proxy = proxy
        proxy.cut_at_message = proxy.cut_at_answer = None

        def opens() -> TokenRepository:
            self._opened.append(get_repository(through, create=False, clock=ManualClock()))
            return self._opened[0]

        self._act = OPERATIONS[name].prepare(Scene(_NO_FILES, contents.facts, opens))
        proxy.messages = proxy.answers = 0

    def run(self) -> FusionStoreError | None:
        """The error that the act ends with; None when it is acknowledged."""
        try:
            self._act()
        except FusionStoreError as error:
            return error
        finally:
            self._proxy.cut_at_message = self._proxy.cut_at_answer = None
        return None

    def finish(self) -> None:
        """Writing goes on over a connection anew."""
        for vault in self._opened:
            go_on(vault)
            vault.close()


@pytest.mark.parametrize("name", NAMES if POINTS > 1 else MAIN)
def test_a_connection_cut_at_any_message_is_told_as_what_it_is(
    name: str, instance: Instance, proxy: Proxy, contents: Contents
) -> None:
    url = instance.url()
    trial = Trial(name, url, proxy, contents)
    before = held(url, contents)
    assert trial.run() is None
    counts = {"message": proxy.messages, "answer": proxy.answers}
    after = held(url, contents)
    trial.finish()

    cuts = [("message", n, delivers) for n in range(1, counts["message"] + 1) for delivers in (False, True)]
    cuts += [("answer", n, True) for n in range(1, counts["answer"] + 1)]
    # A commit that the server still reads is the one cut that may have been made.
    tried = {*some(cuts, chance(name, instance.name)), ("message", counts["message"], True)}
    for at, number, delivers in sorted(tried):
        trial = Trial(name, url, proxy, contents)
        setattr(proxy, f"cut_at_{at}", number)
        proxy.delivers, proxy.cuts = delivers, 0
        error = trial.run()
        told = f"{at} {number} of {counts[at]}, delivered: {delivers}: {error!r}"
        # What was counted may come in fewer pieces another time.
        have_come = {"message": proxy.messages, "answer": proxy.answers}[at]
        assert proxy.cuts == 1 or (error is None and have_come < number), told
        assert error is None or isinstance(error, Unavailable | OutcomeUnknown), told
        found = held(url, contents)
        if error is None:
            assert found == after, told
        elif isinstance(error, Unavailable) and OPERATIONS[name].is_one_step:
            assert found == before, told
        else:
            assert found in (before, after), told
        trial.finish()
