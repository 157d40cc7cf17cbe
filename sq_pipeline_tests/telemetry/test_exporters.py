"""A run in a process of its own sends its spans to a receiver on this machine, and only when it is told to."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sq_pipeline.common.layout import DataDir
from sq_pipeline.telemetry.spans import span
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_yaml

COMMAND = str(Path(sys.executable).with_name("sq-pipeline"))


@dataclass
class Receiver:
    """What came in: paths of requests, services' names, spans by name."""

    port: int = 0
    paths: list[str] = field(default_factory=list[str])
    services: set[str] = field(default_factory=set[str])
    spans: dict[str, list[Span]] = field(default_factory=dict[str, list[Span]])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, path: str, body: bytes) -> None:
        self.paths.append(path)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = [item.value.string_value for item in resource.resource.attributes if item.key == "service.name"]
            self.services.update(names)
            for scope in resource.scope_spans:
                for item in scope.spans:
                    self.spans.setdefault(item.name, []).append(item)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    thread.join()


@pytest.fixture
def game(data: DataDir) -> DataDir:
    """Two places without an adapter: nothing to train."""
    write_yaml(data.genre_root("west") / "visual_style.yaml", {"base_seed": 1})
    write_yaml(data.genre_root("west") / "worlds/old/history.yaml", {"chapters": [chapter(poi("Mill"), poi("Mine"))]})
    return data


def run(data: DataDir, **variables: str) -> subprocess.CompletedProcess[str]:
    """`sq-pipeline run` with these variables, and none of OpenTelemetry's besides."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [COMMAND, "run", "--data", str(data.root), "--json"]
    return subprocess.run(command, env={**plain, **variables}, capture_output=True, text=True, timeout=300)


@pytest.mark.long
def test_a_run_sends_its_spans_where_it_is_told_and_nowhere_else(game: DataDir, receiver: Receiver) -> None:
    ended = run(game, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.address, OTEL_SERVICE_NAME="my-game")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\n") == 1  # the one JSON object, and no span
    assert set(receiver.paths) == {"/v1/traces"}
    assert receiver.services == {"my-game"}
    renders, loads = receiver.spans["flux_mlx.render"], receiver.spans["flux_mlx.load_model"]
    assert (len(renders), len(loads)) == (2, 1)
    assert loads[0].parent_span_id in {item.span_id for item in renders}
    values = {item.key: item.value for item in renders[0].attributes}
    assert values["render.width"].int_value == 128
    assert values["render.elapsed_ms"].double_value > 0
    assert values["render.lora.stack_size"].int_value == 0
    # the very same receiver, and nobody asks
    receiver.paths.clear()
    write_yaml(game.genre_root("west") / "visual_style.yaml", {"base_seed": 2})
    ended = run(game, OTEL_SERVICE_NAME="my-game")
    assert ended.returncode == 0, ended.stderr
    assert '"poi": "mill"' in ended.stdout
    assert receiver.paths == []


def test_a_wrong_setting_is_told_before_any_work(game: DataDir) -> None:
    ended = run(game, OTEL_TRACES_EXPORTER="zipkin")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "error: OTEL_TRACES_EXPORTER: 'zipkin' is not known; use otlp, console or none\n"
    assert not (game.root / "store").exists()


def test_spans_on_the_console_leave_stdout_to_the_answer() -> None:
    code = "from sq_pipeline.telemetry.spans import span\nwith span('flux_mlx.render'): print('answer')"
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "console"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ended.stdout == "answer\n"
    assert ended.stderr.count('"name": "flux_mlx.render"') == 1


def test_a_process_that_multiprocessing_starts_sends_what_is_left(receiver: Receiver) -> None:
    """As Dagster starts its steps' processes, in which `atexit` does nothing."""
    code = (
        "import multiprocessing\n"
        "from sq_pipeline_tests.telemetry.test_exporters import tell\n"
        "process = multiprocessing.get_context('spawn').Process(target=tell)\n"
        "process.start(); process.join()"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address, "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(receiver.spans) == ["flux_mlx.step"]


def tell() -> None:
    with span("flux_mlx.step"):
        pass
