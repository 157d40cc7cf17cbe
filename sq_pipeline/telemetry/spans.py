"""Spans: `with span("flux_mlx.load_model") as it: …`. One line at a call site, and next to nothing while it is off.

Not here: where they go (`exporters`), what a render's span says (`pictures.rendering`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sq_pipeline.telemetry.exporters import make_provider, wanted_exporters

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer, TracerProvider

Value = str | bool | int | float | Sequence[str] | Sequence[int] | Sequence[float]

_NAME, _HEADER = "sq_pipeline", "traceparent"
_provider: TracerProvider | None = None


class Span:
    """A span under way; one that is not recorded takes everything and keeps nothing."""

    def __init__(self, inner: OtelSpan | None) -> None:
        self._inner = inner
        self._is_failed = False

    def set(self, values: Mapping[str, Value]) -> None:
        """Set attributes, by their dotted names."""
        if self._inner is not None:
            self._inner.set_attributes(dict(values))

    def fail(self, message: str) -> None:
        """Status ERROR with this message; the first one stays."""
        if self._inner is not None and not self._is_failed:
            from opentelemetry.trace import Status, StatusCode

            self._inner.set_status(Status(StatusCode.ERROR, message))
            self._is_failed = True

    def raised(self, error: BaseException) -> None:
        """The exception as an event, and as the status."""
        if self._inner is not None:
            self._inner.record_exception(error)
            self.fail(str(error).partition("\n")[0] or type(error).__name__)


_OFF = Span(None)


@dataclass(frozen=True)
class Served:
    """What is done for another process: a span of kind SERVER, in the caller's trace where it told of one.

    `traceparent`: https://www.w3.org/TR/trace-context-1/#traceparent-header
    """

    traceparent: str | None = None


@contextmanager
def span(name: str, values: Mapping[str, Value] | None = None, served: Served | None = None) -> Iterator[Span]:
    """A span around the block, child of the one around it, or of the caller's in another process where it is `served`.

    What the block raises is its status, and passes through.
    """
    tracer = _tracer()
    if tracer is None:
        yield _OFF
        return
    with tracer.start_as_current_span(
        name, record_exception=False, set_status_on_exception=False, **_served_options(served)
    ) as inner:
        told = Span(inner)
        told.set(values or {})
        try:
            yield told
        except BaseException as error:
            told.raised(error)
            raise


def _served_options(served: Served | None) -> dict[str, Any]:
    if served is None:
        return {}
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {} if served.traceparent is None else {_HEADER: served.traceparent}
    return {"kind": SpanKind.SERVER, "context": TraceContextTextMapPropagator().extract(carrier)}


def current_traceparent() -> str | None:
    """The span around as W3C's `traceparent`, for another process to hang its own on; None where there is none."""
    if _tracer() is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(_HEADER)


def _tracer() -> Tracer | None:
    """Of the provider that was set up here; else of the one that the process has already; else by the environment."""
    global _provider
    if _provider is None:
        api = sys.modules.get("opentelemetry.trace")
        if api is not None and not isinstance(found := api.get_tracer_provider(), api.ProxyTracerProvider):
            return found.get_tracer(_NAME)
        exporters = wanted_exporters(os.environ)
        if not exporters:
            return None
        _provider = make_provider(exporters)
    return _provider.get_tracer(_NAME)


@contextmanager
def use_provider(provider: TracerProvider) -> Iterator[None]:
    """All spans of the block go to this provider, whatever the environment says."""
    global _provider
    before, _provider = _provider, provider
    try:
        yield
    finally:
        _provider = before
