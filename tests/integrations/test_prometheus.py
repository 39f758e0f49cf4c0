"""Metrics, as a Prometheus server reads them."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fusion_store import (
    ConfigError,
    CredentialType,
    OAuthTokenData,
    ServiceCredentials,
    StoreStats,
    TenantNotFound,
    get_repository,
)
from fusion_store.auth import GrantRejected
from fusion_store.integrations.prometheus import PrometheusObserver
from fusion_store.layers import ObservedTokenRepository
from fusion_store_memory._repository import MemoryTokenRepository
from fusion_store_memory._state import State

_DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "fusion-store.json"


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> PrometheusObserver:
    return PrometheusObserver(registry)


@pytest.fixture
def monotonic() -> Seconds:
    return Seconds()


@pytest.fixture
def vault(metrics: PrometheusObserver, monotonic: Seconds) -> Iterator[ObservedTokenRepository]:
    with ObservedTokenRepository(get_repository("memory://", cache=True), metrics) as observed:
        metrics.watch(observed, every=timedelta(minutes=1), monotonic=monotonic)
        yield observed


def test_operations_are_counted_by_outcome(vault: ObservedTokenRepository, registry: CollectorRegistry) -> None:
    issued = vault.add_api_token("Ada's laptop")
    vault.validate_api_token(issued.token)
    vault.validate_api_token(issued.token)
    with pytest.raises(TenantNotFound):
        vault.store_oauth_token("f" * 64, "github", OAuthTokenData("gho_secret"))

    def count(operation: str, outcome: str) -> float | None:
        labels = {"operation": operation, "outcome": outcome}
        return registry.get_sample_value("fusion_store_operation_seconds_count", labels)

    assert count("validate_api_token", "ok") == 2
    assert count("add_api_token", "ok") == 1
    assert count("store_oauth_token", "TenantNotFound") == 1
    text = generate_latest(registry).decode()
    for secret in (issued.token, issued.hash, issued.metadata.token_id, "gho_secret", "laptop"):
        assert secret not in text


def test_refreshes_are_counted_by_outcome(metrics: PrometheusObserver, registry: CollectorRegistry) -> None:
    with metrics.refresh("github"):
        pass
    for error in (GrantRejected("invalid_grant"), OSError()):
        with pytest.raises(type(error)), metrics.refresh("github"):
            raise error

    for outcome in ("renewed", "rejected", "failed"):
        labels = {"service": "github", "outcome": outcome}
        assert registry.get_sample_value("fusion_store_refresh_seconds_count", labels) == 1


def test_a_watched_store_tells_what_it_holds(
    vault: ObservedTokenRepository, registry: CollectorRegistry, monotonic: Seconds
) -> None:
    issued = vault.add_api_token("Ada")
    tenant = issued.metadata.tenant_hash
    vault.store_oauth_token(tenant, "github", OAuthTokenData("gho_secret"))
    vault.store_credentials(tenant, "weather", ServiceCredentials(CredentialType.API_KEY, {"key": "x"}))

    value = registry.get_sample_value
    assert value("fusion_store_up") == 1
    assert value("fusion_store_tenants") == 1
    assert value("fusion_store_api_tokens") == 1
    assert value("fusion_store_bytes") is not None
    assert value("fusion_store_oauth_tokens", {"service": "github"}) == 1
    assert value("fusion_store_credentials", {"type": "api_key"}) == 1

    vault.add_api_token("Grace")
    monotonic.now = 59.0
    assert value("fusion_store_tenants") == 1
    monotonic.now = 60.0
    assert value("fusion_store_tenants") == 2


def test_uses_that_wait_and_what_the_cache_misses(vault: ObservedTokenRepository, registry: CollectorRegistry) -> None:
    tokens = [vault.add_api_token().token for _ in range(3)]
    for _ in range(4):
        for token in tokens:
            vault.validate_api_token(token)

    assert registry.get_sample_value("fusion_store_cache_misses_total") == 3
    assert registry.get_sample_value("fusion_store_last_used_backlog") == 3
    vault.flush()
    assert registry.get_sample_value("fusion_store_last_used_backlog") == 0


def test_a_store_that_cannot_be_read_is_down(vault: ObservedTokenRepository, registry: CollectorRegistry) -> None:
    vault.close()

    assert registry.get_sample_value("fusion_store_up") == 0
    assert registry.get_sample_value("fusion_store_tenants") is None


def test_up_is_of_this_scrape(vault: ObservedTokenRepository, registry: CollectorRegistry) -> None:
    assert registry.get_sample_value("fusion_store_up") == 1
    vault.close()
    assert registry.get_sample_value("fusion_store_up") == 0


def test_a_store_that_hangs_is_down_and_holds_up_no_scrape(
    metrics: PrometheusObserver, registry: CollectorRegistry
) -> None:
    vault = get_repository("memory://")
    assert isinstance(vault, MemoryTokenRepository)
    with vault:
        metrics.watch(vault, every=timedelta(0), timeout=timedelta(milliseconds=50))
        assert registry.get_sample_value("fusion_store_up") == 1
        with vault._state.lock, ThreadPoolExecutor(8) as scrapers:
            scrapes = [scrapers.submit(generate_latest, registry) for _ in range(8)]
            told = [scrape.result(30).decode() for scrape in scrapes]
            threads = sum(thread.name == "fusion-store-health" for thread in threading.enumerate())

        assert all("fusion_store_up 0.0" in text for text in told)
        assert not any("fusion_store_tenants" in text for text in told)
        assert threads == 1
        _eventually(lambda: registry.get_sample_value("fusion_store_up") == 1)


def test_counting_that_takes_long_holds_up_no_scrape(metrics: PrometheusObserver, registry: CollectorRegistry) -> None:
    counting, counted = threading.Event(), threading.Event()

    class Large(MemoryTokenRepository):
        def count_records(self, now: int) -> StoreStats:
            counting.set()
            assert counted.wait(60)
            return super().count_records(now)

    with Large(State()) as vault:
        metrics.watch(vault, timeout=timedelta(milliseconds=50))
        for _ in range(3):
            assert registry.get_sample_value("fusion_store_up") == 1
            assert registry.get_sample_value("fusion_store_tenants") is None
        assert counting.is_set()
        counted.set()
        _eventually(lambda: registry.get_sample_value("fusion_store_tenants") == 0)


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_only_this_packages_own_can_be_watched(metrics: PrometheusObserver) -> None:
    with pytest.raises(ConfigError, match="watched"):
        metrics.watch(object())  # type: ignore[arg-type] # what a caller without a type checker may do


def test_the_dashboard_asks_for_metrics_that_there_are(
    vault: ObservedTokenRepository, metrics: PrometheusObserver, registry: CollectorRegistry
) -> None:
    tenant = vault.add_api_token().metadata.tenant_hash
    vault.store_oauth_token(tenant, "github", OAuthTokenData("x"))
    vault.store_credentials(tenant, "weather", ServiceCredentials(CredentialType.API_KEY, {"key": "x"}))
    with metrics.refresh("github"):
        pass
    known = {line.split("{")[0].split(" ")[0] for line in generate_latest(registry).decode().splitlines()}
    panels = json.loads(_DASHBOARD.read_text())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"fusion_store_\w+", target["expr"])
    }

    assert len(panels) > 10
    assert asked - known == set()
