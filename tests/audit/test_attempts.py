"""Authentication attempts reach their sink, and never make a validation wait."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from fusion_store import ConfigError, acting_as, get_repository
from fusion_store.audit import AuditOptions, AuthenticationAttempt, JSONLinesFile
from fusion_store.backend import AttemptRecorder, RecordRepository
from fusion_store.layers import CachedTokenRepository, Key
from fusion_store.testing import ManualClock

Attempts = list[AuthenticationAttempt]
HOUR = timedelta(hours=1)


def recorded(attempts: Attempts, **options: float) -> AuditOptions:
    return AuditOptions(enable=False, attempts=attempts.extend, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("sealed", [False, True])
def test_every_attempt_is_handed_on_with_its_outcome(sealed: bool, cache: bool) -> None:
    clock, attempts = ManualClock(), Attempts()
    keys = [Key.generate().reveal()] if sealed else None
    with get_repository(
        "memory://", clock=clock, encryption_keys=keys, cache=cache, audit=recorded(attempts), token_prefix="acme"
    ) as repository:
        good = repository.add_api_token()
        short = repository.add_api_token(tenant_hash=good.hash, expires_at=clock.now + HOUR)
        gone = repository.add_api_token(tenant_hash=good.hash)
        repository.delete_api_token(gone.hash)
        clock.advance(HOUR)
        with acting_as("gateway"):
            repository.validate_api_token(good.token)
        for token in (short.token, gone.token, "f" * 64, "correct horse", gone.token[:-1] + "_", "x" * 9999):
            assert repository.validate_api_token(token) is None
        repository.validate_api_token(None)  # type: ignore[arg-type]
        assert repository.audit_log() == []
    assert [(a.outcome, a.token_id, a.tenant_hash, a.actor) for a in attempts[:3]] == [
        ("accepted", good.hash[:16], good.hash, "gateway"),
        ("expired", short.hash[:16], good.hash, ""),
        ("unknown", gone.hash[:16], "", ""),
    ]
    assert [(a.outcome, bool(a.token_id)) for a in attempts[3:]] == [("unknown", True)] + [("malformed", False)] * 4
    assert {a.at for a in attempts} == {clock.now}
    assert good.token not in repr(attempts)


def test_what_is_answered_from_memory_is_handed_on_too() -> None:
    clock, attempts = ManualClock(), Attempts()
    with get_repository("memory://", clock=clock, cache=True, audit=recorded(attempts)) as repository:
        issued = repository.add_api_token(expires_at=clock.now + HOUR)
        for _ in range(3):
            assert repository.validate_api_token(issued.token)
        made_at = clock.now
        assert isinstance(repository, CachedTokenRepository)
        assert repository.recall_api_token(issued.token)
        clock.advance(HOUR)
        assert repository.recall_api_token(issued.token) is None
        assert repository.validate_api_token(issued.token) is None
    assert [(attempt.outcome, attempt.at) for attempt in attempts] == (
        [("accepted", made_at)] * 4 + [("expired", made_at + HOUR)]
    )
    assert {attempt.token_id for attempt in attempts} == {issued.hash[:16]}


def test_a_sink_that_hangs_makes_nobody_wait_and_what_does_not_fit_is_counted() -> None:
    begun, go_on, seen = threading.Event(), threading.Event(), Attempts()

    def hang(batch: Sequence[AuthenticationAttempt]) -> None:
        begun.set()
        assert go_on.wait(60)
        seen.extend(batch)

    options = AuditOptions(enable=False, attempts=hang, queue_size=10)
    with get_repository("memory://", audit=options) as repository:
        assert isinstance(repository, RecordRepository)
        assert repository.attempts is not None
        repository.validate_api_token("first")
        assert begun.wait(60)
        for _ in range(25):
            repository.validate_api_token("more")
        assert repository.attempts.dropped == 15
        go_on.set()
    assert len(seen) == 11


def test_closing_waits_no_longer_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_store.backend._attempts._CLOSE_SECONDS", 0.01)
    go_on = threading.Event()

    def hang(_: Sequence[AuthenticationAttempt]) -> None:
        assert go_on.wait(60)

    repository = get_repository("memory://", audit=AuditOptions(enable=False, attempts=hang))
    repository.validate_api_token("first")
    repository.close()
    go_on.set()


def test_a_sink_that_fails_loses_its_batches_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    seen, failures = Attempts(), [threading.Event(), threading.Event()]

    def fail_twice(batch: Sequence[AuthenticationAttempt]) -> None:
        for failed in failures:
            if not failed.is_set():
                failed.set()
                raise OSError("secret path")
        seen.extend(batch)

    options = AuditOptions(enable=False, attempts=fail_twice)
    with caplog.at_level(logging.WARNING, "fusion_store"), get_repository("memory://", audit=options) as repository:
        for failed in failures:
            repository.validate_api_token("lost")
            assert failed.wait(60)
        repository.validate_api_token("seen")
    assert len(seen) == 1
    assert isinstance(repository, RecordRepository)
    assert repository.attempts is not None
    assert repository.attempts.dropped == 2
    assert "OSError" in caplog.text
    assert "secret path" not in caplog.text


def test_a_sink_that_ends_its_thread_is_called_again() -> None:
    seen, ended = Attempts(), threading.Event()

    def leave(batch: Sequence[AuthenticationAttempt]) -> None:
        if not ended.is_set():
            ended.set()
            sys.exit("enough")
        seen.extend(batch)

    with get_repository("memory://", audit=AuditOptions(enable=False, attempts=leave)) as repository:
        assert isinstance(repository, RecordRepository)
        assert repository.attempts is not None
        repository.validate_api_token("lost")
        assert ended.wait(60)
        repository.validate_api_token("seen")
    assert (len(seen), repository.attempts.dropped) == (1, 1)


def test_a_sample_of_the_accepted_ones_and_all_refused_ones() -> None:
    attempts = Attempts()
    with get_repository("memory://", audit=recorded(attempts, sample=0.5)) as repository:
        token = repository.add_api_token().token
        for _ in range(400):
            repository.validate_api_token(token)
            repository.validate_api_token("guessed")
    outcomes = [attempt.outcome for attempt in attempts]
    assert outcomes.count("malformed") == 400
    assert 100 < outcomes.count("accepted") < 300


@pytest.mark.parametrize("sample", [0, 1])
def test_all_or_none_of_the_accepted_ones(sample: float) -> None:
    attempts = Attempts()
    with get_repository("memory://", audit=recorded(attempts, sample=sample)) as repository:
        token = repository.add_api_token().token
        for _ in range(20):
            repository.validate_api_token(token)
    assert len(attempts) == 20 * sample


@pytest.mark.parametrize("options", [{"sample": 2.0}, {"sample": -0.1}, {"queue_size": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="attempts"):
        get_repository("memory://", audit=recorded([], **options))


def test_a_forgotten_recorder_leaves_no_thread() -> None:
    handed_on = threading.Event()
    recorder = AttemptRecorder(lambda _: handed_on.set())
    recorder.refuse("x", None, 0)
    (thread,) = (t for t in threading.enumerate() if t.name == "fusion-store-attempts")
    assert thread.daemon
    assert handed_on.wait(60)
    time.sleep(0.1)  # until it waits for more
    del recorder
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


def test_a_forked_child_hands_on_its_own(tmp_path: Path) -> None:
    file = tmp_path / "attempts"
    options = AuditOptions(enable=False, attempts=JSONLinesFile(file))
    with get_repository(f"sqlite:///{tmp_path}/vault.db", audit=options) as repository:
        repository.validate_api_token("parent")
        child = os.fork()
        if not child:
            try:
                repository.validate_api_token("child")
                repository.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    assert [json.loads(text)["outcome"] for text in file.read_text().splitlines()] == ["malformed"] * 2
