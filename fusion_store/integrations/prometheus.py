"""Prometheus: operations, refreshes, and the state of a store, as metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Final, TypeVar

from fusion_store._errors import ConfigError, FusionStoreError
from fusion_store._interface import TokenRepository
from fusion_store._values import StoreStats
from fusion_store.auth import GrantRejected
from fusion_store.backend import ENCRYPTION_MARK, Probe, RecordRepository
from fusion_store.integrations._extras import missing
from fusion_store.layers import CachedTokenRepository, ObservedTokenRepository, Observer

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError:
    raise missing("prometheus_client", "metrics") from None

__all__ = ["PrometheusObserver"]

_OPERATION_BUCKETS: Final = (
    1e-5,
    1e-4,
    2.5e-4,
    5e-4,
    1e-3,
    2.5e-3,
    5e-3,
    1e-2,
    2.5e-2,
    5e-2,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
)
_REFRESH_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

T = TypeVar("T")


class PrometheusObserver(Observer):
    """Times operations and refreshes, and with ``watch`` tells of a store's state when it is scraped.

    - ``fusion_store_operation_seconds{operation,outcome}``, a histogram: ``outcome`` is ``ok`` or the error's class.
    - ``fusion_store_refresh_seconds{service,outcome}``, a histogram of requests to providers: ``renewed``,
      ``rejected`` (the user has to consent again) or ``failed``.

    ``registry`` is by default the global one, where one observer has room.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._operations = Histogram(
            "fusion_store_operation_seconds",
            "Duration of the vault's operations",
            ["operation", "outcome"],
            registry=registry,
            buckets=_OPERATION_BUCKETS,
        )
        self._refreshes = Histogram(
            "fusion_store_refresh_seconds",
            "Duration of requests for new tokens to providers",
            ["service", "outcome"],
            registry=registry,
            buckets=_REFRESH_BUCKETS,
        )

    def operation(self, name: str) -> AbstractContextManager[object]:
        return _timed(self._operations, name, _operation_outcome)

    def refresh(self, service: str) -> AbstractContextManager[object]:
        return _timed(self._refreshes, service, _refresh_outcome)

    def watch(
        self,
        repository: TokenRepository,
        *,
        every: timedelta = timedelta(minutes=1),
        timeout: timedelta = timedelta(seconds=2),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tell of a repository's state, until it is closed.

        - ``fusion_store_last_used_backlog``: uses that wait to be written.
        - ``fusion_store_cache_misses_total``: validations that the cache couldn't answer, of a cached repository.
        - ``fusion_store_up``: 1 when a record could be read for this scrape, within ``timeout``; 0 when not.
        - ``fusion_store_tenants``, ``_api_tokens``, ``_oauth_tokens``, ``_credentials``, ``_bytes``: what the store
          holds, while it is up; counted not more often than ``every``, since a large one takes its time. A scrape waits
          for it no longer than ``timeout``: then the last count is told, and the new one next time.

        ``ConfigError`` for a repository that isn't built on this package's own.
        """
        while isinstance(repository, ObservedTokenRepository):
            repository = repository.inner
        if not isinstance(repository, RecordRepository):
            raise ConfigError("only a repository of get_repository, or a layer over one, can be watched")
        self._registry.register(_State(repository, every.total_seconds(), timeout.total_seconds(), monotonic))


def _operation_outcome(error: BaseException | None) -> str:
    return "ok" if error is None else type(error).__name__


def _refresh_outcome(error: BaseException | None) -> str:
    if error is None:
        return "renewed"
    return "rejected" if isinstance(error, GrantRejected) else "failed"


@contextmanager
def _timed(histogram: Histogram, name: str, outcome: Callable[[BaseException | None], str]) -> Iterator[None]:
    began, raised = time.perf_counter(), None
    try:
        yield
    except BaseException as error:
        raised = error
        raise
    finally:
        histogram.labels(name, outcome(raised)).observe(time.perf_counter() - began)


class _State(Collector):
    def __init__(
        self, repository: RecordRepository, every: float, timeout: float, monotonic: Callable[[], float]
    ) -> None:
        self._repository = repository
        self._every = every
        self._timeout = timeout
        self._monotonic = monotonic
        self._reading, self._counting = Probe[object](), Probe[None]()
        self._counted: StoreStats | None = None
        self._count_again_at = 0.0

    def describe(self) -> list[Metric]:
        """Nothing beforehand: registering must not read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        repository = self._repository
        yield GaugeMetricFamily(
            "fusion_store_last_used_backlog", "Uses that wait to be written", repository.last_used_backlog()
        )
        if isinstance(repository, CachedTokenRepository):
            yield CounterMetricFamily(
                "fusion_store_cache_misses", "Validations that the cache couldn't answer", repository.misses
            )
        up = self._answers(self._reading, self._read)
        yield GaugeMetricFamily("fusion_store_up", "Whether the store could be read", up)
        if up and self._monotonic() >= self._count_again_at:
            self._answers(self._counting, self._count)
        stats = self._counted
        if not up or stats is None:
            return
        for name, number in (
            ("tenants", stats.tenants),
            ("api_tokens", stats.api_tokens),
            ("bytes", stats.bytes_on_disk),
        ):
            yield GaugeMetricFamily(f"fusion_store_{name}", f"The store's {name.replace('_', ' ')}", number)
        for name, label, numbers in (
            ("oauth_tokens", "service", stats.oauth_tokens),
            ("credentials", "type", stats.credentials),
        ):
            family = GaugeMetricFamily(f"fusion_store_{name}", f"The store's {name.replace('_', ' ')}", labels=[label])
            for key, number in numbers.items():
                family.add_metric([str(key)], number)
            yield family

    def _answers(self, probe: Probe[T], call: Callable[[], T]) -> bool:
        try:
            probe.run(call, self._timeout)
        except FusionStoreError:
            return False
        return True

    def _read(self) -> object:
        with self._repository.guard:
            return self._repository.read_mark(ENCRYPTION_MARK)

    def _count(self) -> None:
        try:
            self._counted = self._repository.stats()
        except FusionStoreError:
            self._counted = None
        self._count_again_at = self._monotonic() + self._every
