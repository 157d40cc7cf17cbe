"""Where spans go, by OpenTelemetry's own environment variables, and the SDK that takes them there.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ with one difference: nothing is sent
until OTEL_TRACES_EXPORTER or an endpoint is set (there OTLP to localhost is the default). Not here: making spans.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

from sq_pipeline.common.errors import Fault, TelemetryError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

Exporter = Literal["console", "otlp"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SERVICE_NAME = "sq-pipeline"


def wanted_exporters(environment: Mapping[str, str]) -> tuple[Exporter, ...]:
    """The exporters that the variables ask for, none where they do not; raises TelemetryError for unknown values."""
    values = {name: value.strip() for name, value in environment.items() if name.startswith("OTEL_") and value.strip()}
    if values.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ()
    default = "otlp" if any(name in values for name in _ENDPOINTS) else "none"
    names = [name.strip().lower() for name in values.get("OTEL_TRACES_EXPORTER", default).split(",")]
    known = {name: name for name in get_args(Exporter)}
    if unknown := [name for name in names if name not in known and name != "none"]:
        raise TelemetryError(
            Fault("", "OTEL_TRACES_EXPORTER", f"{unknown[0]!r} is not known", "use otlp, console or none")
        )
    wanted = tuple(dict.fromkeys(known[name] for name in names if name != "none"))
    protocol = next((values[name] for name in _PROTOCOLS if name in values), "http/protobuf")
    if "otlp" in wanted and protocol != "http/protobuf":
        fault = Fault("", "OTEL_EXPORTER_OTLP_PROTOCOL", f"{protocol!r} is not built in", "use http/protobuf")
        raise TelemetryError(fault)
    return wanted


def make_provider(exporters: tuple[Exporter, ...]) -> TracerProvider:
    """The SDK with these exporters. What is left of its spans goes out when the process ends, a step's process too."""
    from multiprocessing.util import Finalize

    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # `create` puts the variables' own resource (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) over nothing but this
    resource = Resource({SERVICE_NAME: _SERVICE_NAME}).merge(_named_by_environment())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in exporters:
        provider.add_span_processor(BatchSpanProcessor(_make_exporter(name)))
    # `atexit` is not run in the processes that multiprocessing (and so Dagster) starts; this is run in both
    Finalize(None, provider.shutdown, exitpriority=10)
    return provider


def _named_by_environment():
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return Resource({name: value for name, value in found.attributes.items() if name != SERVICE_NAME})
    return found


def _make_exporter(name: Exporter) -> SpanExporter:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)  # stdout is for a command's answer
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
