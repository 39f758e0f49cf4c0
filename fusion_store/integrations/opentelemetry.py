"""OpenTelemetry: a span for every operation and every refresh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from fusion_store._version import __version__
from fusion_store.integrations._extras import missing
from fusion_store.layers import Observer

try:
    from opentelemetry.trace import SpanKind, StatusCode, TracerProvider, get_tracer
except ImportError:
    raise missing("opentelemetry", "tracing") from None

__all__ = ["OpenTelemetryObserver"]


class OpenTelemetryObserver(Observer):
    """Spans named ``fusion_store.OPERATION``, and ``fusion_store.refresh`` with the attribute ``fusion_store.service``.

    A failed one has the status ERROR and the error's class as ``error.type``; no text, no other attribute.
    ``tracer_provider`` is by default the global one.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = get_tracer("fusion_store", __version__, tracer_provider)

    def operation(self, name: str) -> AbstractContextManager[object]:
        return self._span(name, {})

    def refresh(self, service: str) -> AbstractContextManager[object]:
        return self._span("refresh", {"fusion_store.service": service})

    @contextmanager
    def _span(self, name: str, attributes: dict[str, str]) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            f"fusion_store.{name}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise
