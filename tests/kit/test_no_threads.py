"""What needs a thread where the system has none to give."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from fusion_store import get_repository
from fusion_store.audit import AuditOptions, AuthenticationAttempt
from fusion_store.backend import RecordRepository

BACKENDS = ["memory", "sqlite", *["leveldb"] * (find_spec("plyvel") is not None)]


@contextmanager
def no_threads() -> Iterator[None]:
    """None can be started: their stacks don't fit into any memory."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_tokens_are_validated_and_counted_when_there_are_threads_again(
    backend: str, cache: bool, tmp_path: Path
) -> None:
    url = "memory://" if backend == "memory" else f"{backend}:///{tmp_path}/vault"
    attempts: list[AuthenticationAttempt] = []
    options = AuditOptions(enable=False, attempts=attempts.extend)
    with get_repository(url, cache=cache, audit=options) as vault:
        assert isinstance(vault, RecordRepository)
        assert vault.attempts is not None
        with no_threads():
            issued = vault.add_api_token()
            assert vault.validate_api_token(issued.token)
            assert vault.validate_api_token(issued.token)
            assert vault.validate_api_token("guessed") is None
            assert vault.attempts.dropped == 3
            health = vault.health()
            assert (health.ok, health.error) == (False, "Unavailable: no thread can be started to ask the store")
            assert vault.last_used_backlog() == 1
        assert vault.validate_api_token(issued.token)
        assert vault.health().ok
        vault.flush()
        found = vault.get_api_token(issued.hash)
        assert found is not None
        assert found.last_used is not None
    assert [attempt.outcome for attempt in attempts] == ["accepted"]


def test_a_vault_that_never_got_a_thread_is_closed_with_what_it_counted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vault"
    options = AuditOptions(enable=False, attempts=list[AuthenticationAttempt]().extend)
    with no_threads(), get_repository(url, audit=options) as vault:
        issued = vault.add_api_token()
        vault.validate_api_token(issued.token)
    with get_repository(url) as vault:
        found = vault.get_api_token(issued.hash)
        assert found is not None
        assert found.last_used is not None
