"""Spans: what a render's says, when it says ERROR, and that nothing is there while nobody asks."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.trace import StatusCode

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.errors import RenderError, TelemetryError
from sq_pipeline.pictures.ports import AppliedAdapter, RenderRequest
from sq_pipeline.pictures.rendering import render
from sq_pipeline.telemetry.exporters import make_provider, wanted_exporters
from sq_pipeline.telemetry.spans import span
from sq_pipeline_tests.builders import write_adapter
from sq_pipeline_tests.fakes import FakeRenderer
from sq_pipeline_tests.spans import Spans, attributes, recorded_spans

ATTRIBUTES = {
    *("render.tier", "render.seed", "render.variant", "render.width", "render.height", "render.elapsed_ms"),
    *("render.lora.stack_size", "render.lora.files", "render.lora.scales", "render.lora.matched_keys"),
    "render.rendered_by",
}


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded_spans() as found:
        yield found


def request(tmp_path: Path, stack: int = 1) -> RenderRequest:
    uses = tuple(AdapterUse(write_adapter(tmp_path / f"{n}.safetensors", n), 0.5 + n) for n in range(stack))
    return RenderRequest("tiny-flux", "old_west, a mill", 7, 4, 128, 96, None, uses)


@pytest.mark.parametrize("stack", [0, 1, 2])
def test_one_span_a_render_with_all_attributes(stack: int, tmp_path: Path, spans: Spans) -> None:
    render(FakeRenderer(), request(tmp_path, stack))
    (told,) = spans.all()
    assert told.name == "flux_mlx.render"
    found = attributes(told)
    assert found.keys() == ATTRIBUTES
    assert found | {"render.elapsed_ms": 0.0} == {
        "render.tier": "landscape",
        "render.seed": 7,
        "render.variant": "tiny-flux",
        "render.width": 128,
        "render.height": 96,
        "render.elapsed_ms": 0.0,
        "render.rendered_by": "in process",
        "render.lora.stack_size": stack,
        "render.lora.files": ("0.safetensors", "1.safetensors")[:stack],
        "render.lora.scales": (0.5, 1.5)[:stack],
        "render.lora.matched_keys": (4, 4)[:stack],
    }
    assert told.status.status_code is StatusCode.UNSET


def report(keys: int, total: int = 4, layers: int = 2) -> AppliedAdapter:
    return AppliedAdapter(Path("0.safetensors"), 0.5, keys, total, layers, 2)


@pytest.mark.parametrize(
    ("applied", "message"),
    [
        ((report(0, layers=0),), "0 of 4 keys matched"),
        ((report(3),), "3 of 4 keys matched"),
        ((report(4, layers=1),), "1 of 2 layers were patched"),
        ((report(0, total=0, layers=2),), "0 of 0 keys matched"),
        ((), "the renderer tells of 0 adapters, 1 were asked for"),
    ],
)
def test_a_stack_that_is_not_applied_whole_is_an_error_and_no_picture(
    applied: tuple[AppliedAdapter, ...], message: str, tmp_path: Path, spans: Spans
) -> None:
    with pytest.raises(RenderError, match=message):
        render(FakeRenderer(applied=applied), request(tmp_path))
    (told,) = spans.named("flux_mlx.render")
    assert told.status.status_code is StatusCode.ERROR
    is_zero = not applied or applied[0].keys_matched == 0
    assert told.status.description is not None
    assert ("no key of 0.safetensors was matched" in told.status.description) == is_zero


def test_a_verification_is_told_of_a_zero_match_and_judges_itself(tmp_path: Path, spans: Spans) -> None:
    asked = replace(request(tmp_path), must_be_whole=False)
    image = render(FakeRenderer(applied=(report(0),)), asked)
    assert image.applied[0].keys_matched == 0
    (told,) = spans.named("flux_mlx.render")
    assert told.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("error", [RenderError("no memory left\nmore"), KeyboardInterrupt(), RuntimeError()])
def test_what_is_raised_is_the_status_and_passes_through(error: BaseException, spans: Spans) -> None:
    with pytest.raises(type(error)), span("flux_mlx.outer"), span("flux_mlx.inner"):
        raise error
    inner, outer = spans.all()
    assert inner.parent == outer.context
    for told in (inner, outer):
        assert told.status.status_code is StatusCode.ERROR
        assert told.status.description == (str(error).partition("\n")[0] or type(error).__name__)
        assert [event.name for event in told.events] == ["exception"]


CASES: list[tuple[dict[str, str], tuple[str, ...]]] = [
    ({}, ()),
    ({"OTEL_SERVICE_NAME": "game"}, ()),
    ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, ()),
    ({"OTEL_TRACES_EXPORTER": ""}, ()),
    ({"OTEL_TRACES_EXPORTER": "console"}, ("console",)),
    ({"OTEL_TRACES_EXPORTER": "console, otlp,console"}, ("console", "otlp")),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, ("otlp",)),
    ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, ("otlp",)),
    ({"OTEL_SDK_DISABLED": "True", "OTEL_TRACES_EXPORTER": "otlp"}, ()),
    ({"OTEL_SDK_DISABLED": "false", "OTEL_TRACES_EXPORTER": "otlp"}, ("otlp",)),
]


@pytest.mark.parametrize(("environment", "wanted"), CASES)
def test_the_standard_variables_decide(environment: dict[str, str], wanted: tuple[str, ...]) -> None:
    assert wanted_exporters(environment) == wanted


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER: 'jaeger' is not known; use otlp, console or none"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' is not built in; use http/protobuf",
        ),
    ],
)
def test_what_cannot_be_met_is_an_error(environment: dict[str, str], message: str) -> None:
    with pytest.raises(TelemetryError) as caught:
        wanted_exporters(environment)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [("", "", "sq-pipeline"), ("my-game", "", "my-game"), ("", "service.name=other,team=a", "other")],
)
def test_the_service_has_a_name(name: str, more: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", more)
    provider = make_provider(())
    assert provider.resource.attributes["service.name"] == expected
    assert (provider.resource.attributes.get("team") == "a") == bool(more)


def test_nothing_is_imported_while_nobody_asks() -> None:
    code = (
        "import sys, sq_pipeline.cli\n"
        "from sq_pipeline.telemetry.spans import span\n"
        "from sq_pipeline.pictures import rendering\n"
        "from sq_pipeline.pipeline.worlds import images\n"
        "from sq_pipeline.training import train\n"
        "with span('flux_mlx.render', {'a': 1}) as it: it.set({'b': 2}); it.fail('no')\n"
        "sys.stderr.write(str([name for name in sys.modules if name.startswith('opentelemetry')]))"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ended.stderr == "[]"
