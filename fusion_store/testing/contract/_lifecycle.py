from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest

from fusion_store import (
    CredentialType,
    FusionStoreError,
    InvalidInput,
    RefreshClaim,
    StoreClosed,
    StoreNotFound,
    TokenRepository,
    get_repository,
)
from fusion_store.testing import ContractStore, ManualClock
from fusion_store.testing.contract._making import (
    UNKNOWN,
    api_key,
    at_once,
    crafted_tenant,
    exported,
    new_tenant,
    oauth,
    outcomes,
)

MINUTE = timedelta(minutes=1)
CLAIM = RefreshClaim(UNKNOWN, "github", "me", 0, 1, ManualClock().now)

OPERATIONS: dict[str, tuple[Any, ...]] = {
    "add_api_token": (),
    "validate_api_token": ("0" * 64,),
    "get_api_token": (UNKNOWN,),
    "list_api_tokens": (),
    "iter_api_tokens": (),
    "find_api_tokens": ("abcd",),
    "resolve_api_token": ("abcd",),
    "rotate_api_token": (UNKNOWN,),
    "delete_api_token": (UNKNOWN,),
    "delete_tenant": (UNKNOWN,),
    "get_tenant": (UNKNOWN,),
    "list_tenants": (),
    "resolve_tenant": ("abcd",),
    "store_oauth_token": (UNKNOWN, "github", oauth()),
    "get_oauth_token": (UNKNOWN, "github"),
    "delete_oauth_token": (UNKNOWN, "github"),
    "list_oauth_tokens": (UNKNOWN,),
    "claim_refresh": (UNKNOWN, "github"),
    "commit_refresh": (CLAIM, oauth()),
    "release_refresh": (CLAIM,),
    "create_auth_code": (UNKNOWN, "github"),
    "redeem_auth_code": ("code",),
    "store_credentials": (UNKNOWN, "github", api_key()),
    "get_credentials": (UNKNOWN, "github", CredentialType.API_KEY),
    "delete_credentials": (UNKNOWN, "github", CredentialType.API_KEY),
    "list_credentials": (UNKNOWN,),
    "schema_version": (),
    "stats": (),
    "health": (),
    "check": (),
    "audit_log": (),
    "purge_expired": (),
    "backup": ("never written",),
    "export_records": (),
    "import_records": (crafted_tenant(1),),
    "flush": (),
}


def call(repository: TokenRepository, name: str) -> object:
    options = {"ttl": MINUTE} if name in ("claim_refresh", "create_auth_code") else {}
    return getattr(repository, name)(*OPERATIONS[name], **options)


def test_after_closing_every_operation_is_refused(repository: TokenRepository) -> None:
    assert OPERATIONS.keys() == TokenRepository.__abstractmethods__ - {"close"}
    repository.add_api_token()

    repository.close()

    for name in OPERATIONS:
        try:
            answer = call(repository, name)
        except StoreClosed:
            continue
        pytest.fail(f"{name} answered {answer!r} on a closed repository")


def test_a_second_close_does_nothing(repository: TokenRepository, reopen: Callable[[], TokenRepository]) -> None:
    tenant = new_tenant(repository)

    repository.close()
    repository.close()

    again = reopen()
    repository.close()
    assert again.get_tenant(tenant) is not None


def test_many_closing_at_once_close_once(repository: TokenRepository) -> None:
    new_tenant(repository)

    at_once([repository.close] * 8)

    with pytest.raises(StoreClosed):
        repository.stats()


def test_closing_leaves_no_thread_behind(contract_store: ContractStore, clock: ManualClock) -> None:
    before = set(threading.enumerate())

    with contract_store.open(clock) as repository:
        issued = repository.add_api_token()
        repository.validate_api_token(issued.token)

    assert set(threading.enumerate()) <= before


def test_leaving_a_with_block_closes(contract_store: ContractStore, clock: ManualClock) -> None:
    with contract_store.open(clock) as repository:
        new_tenant(repository)
    with pytest.raises(StoreClosed):
        repository.list_tenants()

    with pytest.raises(KeyError), contract_store.open(clock) as repository:
        raise KeyError
    with pytest.raises(StoreClosed):
        repository.list_tenants()


def test_open_iterators_are_refused_at_their_next_step(repository: TokenRepository) -> None:
    for _ in range(3):
        repository.add_api_token()
    tokens, records = repository.iter_api_tokens(), repository.export_records()
    unbegun_tokens, unbegun_records = repository.iter_api_tokens(), repository.export_records()
    next(tokens)
    next(records)

    repository.close()

    for iterator in (tokens, records, unbegun_tokens, unbegun_records):
        with pytest.raises(StoreClosed):
            next(iterator)


def test_closing_during_an_import_stops_it_between_batches(repository: TokenRepository) -> None:
    def closing() -> Any:
        for number in range(700):
            if number == 600:
                repository.close()
            yield from crafted_tenant(number)

    with pytest.raises(StoreClosed):
        repository.import_records(closing())


class BlockingClock(ManualClock):
    """Holds up whoever asks for the time, while ``hold`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = False
        self.asked, self.go_on = Event(), Event()

    def __call__(self) -> datetime:
        if self.hold:
            self.hold = False
            self.asked.set()
            assert self.go_on.wait(30)
        return super().__call__()


def test_closing_waits_for_a_call_under_way(contract_store: ContractStore) -> None:
    clock = BlockingClock()
    repository = contract_store.open(clock)
    with ThreadPoolExecutor(2) as threads:
        clock.hold = True
        adding = threads.submit(repository.add_api_token, "under way")
        assert clock.asked.wait(30)
        closing = threads.submit(repository.close)
        while not refuses(repository):
            pass
        assert not closing.done()
        clock.go_on.set()
        issued = adding.result(30)
        closing.result(30)

    with contract_store.open(clock) as again:
        assert again.get_api_token(issued.hash) == issued.metadata


def refuses(repository: TokenRepository) -> bool:
    try:
        repository.schema_version()
    except StoreClosed:
        return True
    return False


def test_closing_under_load_loses_nothing_that_was_acknowledged(
    repository: TokenRepository, reopen: Callable[[], TokenRepository]
) -> None:
    tenant = new_tenant(repository)
    acknowledged: list[str] = []
    begun = Event()

    def write(number: int) -> None:
        for step in range(10_000):
            repository.store_oauth_token(tenant, f"{number}.{step}", oauth())
            acknowledged.append(f"{number}.{step}")
            begun.set()

    def read() -> None:
        while True:
            repository.list_oauth_tokens(tenant)

    def close() -> None:
        assert begun.wait(30)
        repository.close()

    answers = outcomes([close, read, read, *(lambda n=n: write(n) for n in range(4))])

    assert [type(answer) for answer in answers[1:]] == [StoreClosed] * 6
    assert set(acknowledged) <= reopen().list_oauth_tokens(tenant).keys()


def test_opening_again_finds_the_same_data(
    repository: TokenRepository, reopen: Callable[[], TokenRepository], clock: ManualClock
) -> None:
    for _ in range(3):
        tenant = new_tenant(repository)
        repository.store_oauth_token(tenant, "github", oauth())
        before = exported(repository)
        repository = reopen()
        assert exported(repository) == before


def test_a_store_that_is_not_there_is_not_made_unless_asked(contract_store: ContractStore) -> None:
    url = contract_store.absent_url() if contract_store.absent_url is not None else contract_store.url
    with pytest.raises(StoreNotFound):
        get_repository(url, create=False, **contract_store.options)
    with pytest.raises(StoreNotFound):
        get_repository(url, create=False, **contract_store.options)

    with get_repository(url, **contract_store.options) as repository:
        tenant = new_tenant(repository)
    with get_repository(url, create=False, **contract_store.options) as repository:
        assert repository.get_tenant(tenant) is not None


def test_without_a_clock_the_systems_time_counts(contract_store: ContractStore) -> None:
    with contract_store.open() as repository:
        before = datetime.now(UTC)
        issued = repository.add_api_token(expires_at=before + MINUTE)
        after = datetime.now(UTC)

        assert before <= issued.metadata.created_at <= after
        assert repository.validate_api_token(issued.token) is not None


def test_a_configured_prefix_shapes_new_tokens(contract_store: ContractStore) -> None:
    with get_repository(contract_store.url, token_prefix="acme", **contract_store.options) as repository:
        issued = repository.add_api_token()
        rotated = repository.rotate_api_token(issued.hash, grace=MINUTE)

        for token in (issued, rotated):
            assert token.token.startswith("acme_")
            assert len(token.token) == len("acme_") + 49
            assert token.metadata.prefix == token.token[5:13]
            assert repository.validate_api_token(token.token) is not None
            found = repository.find_api_tokens(token.metadata.prefix)
            assert [match.hash for match in found] == [token.hash]


def test_a_naive_clock_is_refused_and_nothing_is_written(repository: TokenRepository, clock: ManualClock) -> None:
    before = exported(repository)
    aware = clock.now
    clock.now = aware.replace(tzinfo=None)

    with pytest.raises(InvalidInput) as caught:
        repository.add_api_token()

    clock.now = aware
    assert caught.value.field == "clock"
    assert exported(repository) == before


if hasattr(os, "fork"):

    def test_a_forked_child_is_refused_or_served_and_the_parent_goes_on(repository: TokenRepository) -> None:
        issued = repository.add_api_token()
        repository.validate_api_token(issued.token)
        repository.flush()

        def serve() -> bool:
            """Whether all that the child does is refused as it should be, or works."""
            try:
                child = repository.add_api_token("by the child")
                seen = {token.hash for token in repository.iter_api_tokens()} == {issued.hash, child.hash}
                repository.delete_api_token(child.hash)
            except FusionStoreError as error:
                return type(error).__name__ == "ForkedHandle"
            return seen

        # Forking with threads is what is tested.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            status = 1
            try:
                served = serve()
                repository.close()
                status = 0 if served else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

        further = repository.add_api_token()
        assert {token.hash for token in repository.iter_api_tokens()} == {issued.hash, further.hash}
        assert repository.validate_api_token(issued.token) is not None
        assert repository.check().ok
