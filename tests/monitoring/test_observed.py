"""Observers are told of every operation, and change none."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest

from fusion_store import InvalidInput, OAuthTokenData, StoreClosed, TenantNotFound, TokenRepository, get_repository
from fusion_store.layers import LogObserver, ObservedTokenRepository
from tests.monitoring.notebook import Notebook


def test_every_operation_of_the_interface_is_observed() -> None:
    operations = {name for name, _ in inspect.getmembers(TokenRepository, callable) if not name.startswith("_")}
    notebook = Notebook()
    vault = ObservedTokenRepository(get_repository("memory://"), notebook)
    vault.close()
    notebook.seen.clear()

    for name in sorted(operations - {"close"}):
        method = getattr(vault, name)
        wanted = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty]
        keywords = {p.name: timedelta(1) for p in wanted if p.kind is p.KEYWORD_ONLY}
        with pytest.raises(StoreClosed):
            method(*("x" for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD), **keywords)

    assert notebook.seen == [(name, "StoreClosed") for name in sorted(operations - {"close"})]


def test_answers_and_errors_come_through() -> None:
    first, second = Notebook(), Notebook()
    with ObservedTokenRepository(get_repository("memory://"), first, second) as vault:
        issued = vault.add_api_token("Ada", scopes=["read"])
        validated = vault.validate_api_token(issued.token)
        assert validated is not None
        assert (validated.description, validated.scopes) == ("Ada", ("read",))
        with pytest.raises(TenantNotFound):
            vault.store_oauth_token("f" * 64, "github", OAuthTokenData("secret"))

    assert first.seen == [
        ("add_api_token", "ok"),
        ("validate_api_token", "ok"),
        ("store_oauth_token", "TenantNotFound"),
        ("close", "ok"),
    ]
    assert second.seen == first.seen


def test_what_is_answered_from_memory_is_a_validation_too() -> None:
    notebook = Notebook()
    with ObservedTokenRepository(get_repository("memory://", cache=True), notebook) as vault:
        token = vault.add_api_token().token
        assert vault.recall_api_token(token) is None
        assert vault.validate_api_token(token) is not None
        assert vault.recall_api_token(token) is not None
    with ObservedTokenRepository(get_repository("memory://"), notebook) as vault:
        assert vault.recall_api_token(token) is None

    assert notebook.seen == [
        ("add_api_token", "ok"),
        ("validate_api_token", "ok"),
        ("validate_api_token", "ok"),
        ("close", "ok"),
        ("close", "ok"),
    ]


def test_what_failed_is_logged_with_fields_and_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    vault = ObservedTokenRepository(get_repository("memory://"), LogObserver())
    with caplog.at_level(logging.DEBUG, "fusion_store.operations"):
        issued = vault.add_api_token("Ada's laptop")
        with pytest.raises(InvalidInput):
            vault.find_api_tokens("x")
        vault.close()
        with pytest.raises(StoreClosed):
            vault.validate_api_token(issued.token)

    told = [(r.levelname, vars(r)["operation"], vars(r)["outcome"], vars(r)["service"]) for r in caplog.records]
    assert told == [
        ("DEBUG", "add_api_token", "ok", ""),
        ("DEBUG", "find_api_tokens", "InvalidInput", ""),
        ("DEBUG", "close", "ok", ""),
        ("WARNING", "validate_api_token", "StoreClosed", ""),
    ]
    assert all(vars(record)["duration_ms"] >= 0 for record in caplog.records)
    for secret in (issued.token, issued.hash, "laptop"):
        assert secret not in caplog.text
        assert not any(secret in str(vars(record)) for record in caplog.records)


def test_what_is_slow_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "fusion_store.operations"),
        ObservedTokenRepository(get_repository("memory://"), LogObserver(slow=timedelta(0))) as vault,
    ):
        vault.stats()

    assert "stats: ok" in caplog.text


def test_a_refresh_is_logged_with_its_service_and_how_long_it_took(caplog: pytest.LogCaptureFixture) -> None:
    before = time.perf_counter()
    with caplog.at_level(logging.DEBUG, "fusion_store.operations"), LogObserver().refresh("github"):
        within = time.perf_counter()
        time.sleep(0.001)
        shortest = time.perf_counter() - within
    longest = time.perf_counter() - before

    (record,) = caplog.records
    told = vars(record)
    assert (told["operation"], told["service"], told["outcome"]) == ("refresh", "github", "ok")
    assert shortest * 1000 <= told["duration_ms"] <= longest * 1000
    assert record.getMessage() == f"refresh: ok in {told['duration_ms']:.1f} ms"


class MetricsLost(Exception):
    pass


class Broken(Notebook):
    """Fails once the operation is over."""

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        try:
            with super()._noted(name):
                yield
        finally:
            raise MetricsLost("secret path")


def test_an_observer_that_fails_changes_no_outcome_and_is_complained_about_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outer, broken, inner = Notebook(), Broken(), Notebook()
    with caplog.at_level(logging.WARNING, "fusion_store"):
        vault = ObservedTokenRepository(get_repository("memory://"), outer, broken, inner)
        issued = vault.add_api_token()
        assert vault.validate_api_token(issued.token)
        with pytest.raises(InvalidInput):
            vault.find_api_tokens("x")
        vault.close()

    expected = [
        ("add_api_token", "ok"),
        ("validate_api_token", "ok"),
        ("find_api_tokens", "InvalidInput"),
        ("close", "ok"),
    ]
    assert outer.seen == broken.seen == inner.seen == expected
    (record,) = caplog.records
    assert "MetricsLost" in record.getMessage()
    assert "secret path" not in caplog.text


def test_an_observer_can_t_swallow_an_error() -> None:
    class Swallowing(Notebook):
        @contextmanager
        def _noted(self, name: str) -> Iterator[None]:
            with suppress(InvalidInput):
                yield

    with ObservedTokenRepository(get_repository("memory://"), Swallowing()) as vault, pytest.raises(InvalidInput):
        vault.find_api_tokens("x")
