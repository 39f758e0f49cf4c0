"""Many processes with many threads want the same expired token: the provider is asked once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from fusion_store import OAuthTokenData, TokenRepository, get_repository
from fusion_store._registry import find_backend
from fusion_store.auth import BlockingAuthManager, ServiceConfig
from fusion_store.backend import CounterRecord, OpenOptions, RecordRepository
from tests.auth.provider import Provider, Reply, Request, running_provider
from tests.servers.databases import VARIABLES, new_database, server_url

ROUNDS = int(os.environ.get("FUSION_STORE_TEST_ROUNDS", "3"))
PROCESSES = 8
THREADS = 8
LEASE_SECONDS = 8.0
SERVERS = [server for server in VARIABLES if server_url(server)]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@contextmanager
def place(backend: str, folder: Path) -> Iterator[str]:
    if backend in VARIABLES:
        with new_database(backend) as url:
            yield url
    else:
        yield f"{backend}:///{folder}/vault"


class Workers:
    """The processes, started once."""

    def __init__(self, url: str, token_url: str, lease: float) -> None:
        command = [sys.executable, "-m", "tests.auth.race.worker", str(THREADS), token_url, str(lease)]
        environment = {**os.environ, "FUSION_STORE_URL": url}
        self.processes = [
            Popen(command, env=environment, stdin=PIPE, stdout=PIPE, text=True, bufsize=1) for _ in range(PROCESSES)
        ]
        assert [self._line(process) for process in self.processes] == ["ready"] * PROCESSES

    @staticmethod
    def _line(process: Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def ask(self, api_token: str) -> None:
        """Begin a round."""
        for process in self.live():
            assert process.stdin is not None
            process.stdin.write(api_token + "\n")
            process.stdin.flush()

    def answers(self) -> list[str]:
        """What all threads of all processes that live were given."""
        lines = [self._line(process) for process in self.live()]
        return [answer for line in lines if line for answer in json.loads(line)]

    def live(self) -> list[Popen[str]]:
        return [process for process in self.processes if process.poll() is None]

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@contextmanager
def workers(url: str, provider: Provider, lease: float = 60.0) -> Iterator[Workers]:
    started = Workers(url, provider.url("/token"), lease)
    try:
        yield started
    finally:
        started.stop()


def store_expired(repository: TokenRepository, tenant: str, provider: Provider) -> None:
    """A token whose access has ended and whose refresh token is good for one use."""
    grant = provider.grant()
    past = datetime.now(UTC) - timedelta(seconds=1)
    repository.store_oauth_token(
        tenant, "race", OAuthTokenData(grant["access_token"], grant["refresh_token"], expires_at=past)
    )


@pytest.mark.parametrize("backend", ["sqlite", *SERVERS])
def test_all_threads_of_all_processes_are_given_one_new_token(backend: str, provider: Provider, tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(place(backend, tmp_path))
        repository = stack.enter_context(get_repository(url))
        issued = repository.add_api_token()
        running = stack.enter_context(workers(url, provider))
        for round in range(1, ROUNDS + 1):
            store_expired(repository, issued.hash, provider)
            running.ask(issued.token)
            answers = running.answers()
            stored = repository.get_oauth_token(issued.hash, "race")
            assert stored is not None
            assert answers == [stored.access_token] * PROCESSES * THREADS
            assert (provider.refreshes, provider.reuses) == (round, 0)
            assert provider.is_live(stored.access_token)


@pytest.mark.parametrize("backend", ["leveldb"] if find_spec("plyvel") else ["memory"])
def test_all_threads_of_the_only_process_are_given_one_new_token(
    backend: str, provider: Provider, tmp_path: Path
) -> None:
    config = ServiceConfig(
        type="oauth2_device",
        client_id="client",
        token_url=provider.url("/token"),
        device_authorization_url=provider.url("/token"),
    )
    threads = PROCESSES * THREADS
    with (
        get_repository(f"{backend}:///{tmp_path}/vault") as repository,
        ThreadPoolExecutor(threads) as pool,
        ExitStack() as stack,
    ):
        issued = repository.add_api_token()
        managers = [stack.enter_context(BlockingAuthManager(repository)) for _ in range(PROCESSES)]
        tenants = [manager.tenant(issued.token) for manager in managers]
        for round in range(1, ROUNDS + 1):
            store_expired(repository, issued.hash, provider)
            answers = pool.map(lambda n: tenants[n % PROCESSES].get_token("race", config), range(threads))
            assert len({answer.access_token for answer in answers}) == 1
            assert (provider.refreshes, provider.reuses) == (round, 0)


def process_of_claim(storage: RecordRepository) -> int:
    """The process that holds the only claim there is."""
    records = storage.scan_records(None, 10).records
    (owner,) = (record.claim_owner for record in records if isinstance(record, CounterRecord) and record.claim_owner)
    return int(owner.split(":")[1])


@pytest.mark.parametrize("backend", ["sqlite", *SERVERS])
def test_after_an_owner_died_with_the_answer_one_more_refresh_is_tried_and_all_have_to_consent(
    backend: str, provider: Provider, tmp_path: Path
) -> None:
    killed: list[int] = []

    with ExitStack() as stack:
        url = stack.enter_context(place(backend, tmp_path))
        repository = stack.enter_context(get_repository(url))
        issued = repository.add_api_token()
        store_expired(repository, issued.hash, provider)
        opener, parsed = find_backend(url)
        storage = stack.enter_context(opener.open(parsed, OpenOptions(create=False)))
        running = stack.enter_context(workers(url, provider, LEASE_SECONDS))

        def grant_and_kill(request: Request) -> Reply:
            reply = provider.strict_token(request)
            # Whoever asked has been granted a token, and dies before it can store it.
            owner = next(process for process in running.processes if process.pid == process_of_claim(storage))
            owner.kill()
            owner.wait()
            killed.append(owner.pid)
            return reply

        provider.script("/token", [grant_and_kill, provider.strict_token])
        running.ask(issued.token)
        answers = running.answers()

        assert len(killed) == 1
        assert answers == ["NeedsReauth"] * (PROCESSES - 1) * THREADS
        assert (provider.refreshes, provider.reuses) == (2, 1)
        running.ask(issued.token)
        assert running.answers() == ["NeedsReauth"] * (PROCESSES - 1) * THREADS
        assert provider.refreshes == 2
