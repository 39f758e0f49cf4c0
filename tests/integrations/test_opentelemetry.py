"""Spans, as OpenTelemetry's own SDK exports them."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from fusion_store import AmbiguousIdentifier, AsyncTokenRepository, get_repository
from fusion_store.integrations.opentelemetry import OpenTelemetryObserver
from fusion_store.layers import ObservedTokenRepository


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def test_an_operation_is_a_span_below_the_callers(exporter: InMemorySpanExporter, provider: TracerProvider) -> None:
    vault = ObservedTokenRepository(get_repository("memory://"), OpenTelemetryObserver(provider))

    async def handle_request() -> None:
        async with AsyncTokenRepository(vault) as asynchronous:
            with provider.get_tracer("host").start_as_current_span("request"):
                await asynchronous.add_api_token("Ada")

    asyncio.run(handle_request())

    added, request = exporter.get_finished_spans()[:2]
    assert (added.name, request.name) == ("fusion_store.add_api_token", "request")
    assert added.parent == request.get_span_context()
    assert added.status.status_code is StatusCode.UNSET


def test_a_failed_one_names_the_errors_class_and_nothing_else(
    exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    with ObservedTokenRepository(get_repository("memory://"), OpenTelemetryObserver(provider)) as vault:
        seen: dict[str, str] = {}
        while True:
            hash = vault.add_api_token().hash
            if hash[:4] in seen:
                break
            seen[hash[:4]] = hash
        exporter.clear()
        with pytest.raises(AmbiguousIdentifier):
            vault.resolve_api_token(hash[:4])

    span = exporter.get_finished_spans()[0]
    assert dict(span.attributes or {}) == {"error.type": "AmbiguousIdentifier"}
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert not span.events


def test_a_refresh_names_its_service(exporter: InMemorySpanExporter, provider: TracerProvider) -> None:
    with OpenTelemetryObserver(provider).refresh("github"):
        pass

    span = exporter.get_finished_spans()[0]
    assert (span.name, dict(span.attributes or {})) == ("fusion_store.refresh", {"fusion_store.service": "github"})
