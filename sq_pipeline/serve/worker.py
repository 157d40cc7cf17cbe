"""A render on its way through the server, and the one thread in which all of them are rendered. Not here: sockets."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sq_pipeline.base_models.ports import TokenCounter
from sq_pipeline.common.errors import Fault, RenderError, SqPipelineError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.adapter_files import AdapterFiles
from sq_pipeline.pictures.ports import OnStep, RenderedImage, RenderRequest, WatchedRenderer
from sq_pipeline.pictures.provenance import RequestProvenance
from sq_pipeline.pictures.rendering import render
from sq_pipeline.pictures.request_provenance import write_request_provenance
from sq_pipeline.serve.calls import adapter_names, describe_picture, to_error
from sq_pipeline.serve.picture_files import write_picture
from sq_pipeline.serve.protocol import Code, ProtocolError, RenderParams, RequestId
from sq_pipeline.telemetry.spans import Served


@dataclass(frozen=True)
class ServedEngines:
    """What renders for the clients. `weights_hash` and `token_counter` take a base model's name, and are cheap."""

    renderer: WatchedRenderer
    weights_hash: Callable[[str], str]
    token_counter: Callable[[str], TokenCounter]


class StoppedError(Exception):
    """A render is ended between two steps."""


@dataclass(eq=False)
class Job:
    """One accepted render. `stop_code` is set when it is to end without a picture, and says why.

    `started` and `step` tell how far it is, once it is in hand. `next_alive`: when its client is next told of that.
    """

    client: Any
    request_id: RequestId
    params: RenderParams
    request: RenderRequest
    since: float = field(default_factory=time.monotonic)
    started: float | None = None
    step: int = 0
    stop_code: Code | None = None
    next_alive: asyncio.TimerHandle | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def progress(self) -> dict[str, Any]:
        """How far it is; until `step` is 1 its base model may be loading."""
        return {
            "variant": self.request.base_model,
            "tier": self.request.tier,
            "step": self.step,
            "steps": self.request.num_inference_steps,
            "elapsed_s": 0.0 if self.started is None else round(time.monotonic() - self.started, 3),
        }

    def stop(self, code: Code) -> None:
        """Let it end at the next step; the first reason counts."""
        with self._lock:
            self.stop_code = self.stop_code or code


class Workbench:
    """Renders jobs, one after the other; all calls come from one thread, in which MLX is at home."""

    def __init__(self, data: DataDir, engines: ServedEngines) -> None:
        self._data, self._engines = data, engines
        self._description = engines.renderer.describe()  # of the code that is loaded, whatever is installed meanwhile
        self._files = AdapterFiles(data)
        self._counters: dict[tuple[str, str], TokenCounter] = {}

    def render(self, job: Job, on_step: OnStep | None) -> dict[str, Any]:
        """The result of a job. Raises ProtocolError; any other exception is a bug, of ours or of an engine."""
        job.started = start = time.monotonic()
        renderer, request = self._engines.renderer, job.request
        loads = renderer.figures()["model_loads"]
        try:
            if job.stop_code is not None:
                raise stopped(job)
            weights = self._weights_of(job)
            names = adapter_names(self._data, request)
            hashes = [self._files.hash_of(use.path) for use in request.adapters]
            served = Served(job.params.traceparent)
            uses = (replace(use, name=name) for use, name in zip(request.adapters, names, strict=True))
            asked = replace(request, adapters=tuple(uses))
            image = render(_Stepping(renderer, job, on_step), asked, served)
            if job.stop_code == "cancelled":  # nobody waits for it any more
                raise stopped(job)
            said = self._describe(job, image, names, hashes, weights)
            path = write_picture(self._data, image.pixels, said.as_chunks())
        except StoppedError:
            raise stopped(job) from None
        except SqPipelineError as error:
            raise to_error(error, self._data, job.request_id) from error
        return {
            "image_path": self._data.relative(path),
            **describe_picture(job.params, said),
            "elapsed_ms": round(1000 * image.elapsed_s, 1),
            "waited_ms": round(1000 * (start - job.since), 1),
            "model_loads": renderer.figures()["model_loads"] - loads,
        }

    def _weights_of(self, job: Job) -> str:
        """The hash of the base model's weights, which must be those that the caller counts on."""
        weights = self._engines.weights_hash(job.request.base_model)
        if job.params.base_weights not in (None, weights):
            message = f"{job.request.base_model} has other weights here: {weights}"
            raise ProtocolError("weights_differ", message, job.request_id)
        return weights

    def _describe(
        self, job: Job, image: RenderedImage, names: list[str], hashes: list[str], weights: str
    ) -> RequestProvenance:
        """What made the picture; raises where one of the files was replaced meanwhile."""
        request = job.request
        files = [
            self._files.read(use.path, file_sha256) for use, file_sha256 in zip(request.adapters, hashes, strict=True)
        ]
        for use, file_sha256 in zip(request.adapters, hashes, strict=True):
            if self._files.hash_of(use.path) != file_sha256:
                raise RenderError(Fault(str(use.path), "", "was replaced while it rendered", "ask again"))
        key = request.base_model, weights
        if key not in self._counters:
            self._counters[key] = self._engines.token_counter(request.base_model)
        if self._engines.weights_hash(request.base_model) != weights:
            message = f"{request.base_model} was replaced while it rendered"
            raise ProtocolError("weights_differ", message, job.request_id)
        return write_request_provenance(
            request,
            image,
            list(zip(names, files, strict=True)),
            self._counters[key],
            weights,
            self._description.versions,
            self._description.chip,
        )


@dataclass(frozen=True)
class _Stepping:
    """The renderer for one job: tells of its steps, ends it when it is to stop, and says in which process it ran."""

    renderer: WatchedRenderer
    job: Job
    on_step: OnStep | None

    def render(self, request: RenderRequest) -> RenderedImage:
        """One picture; raises StoppedError, RenderError."""
        image = self.renderer.render(request, self._step)
        return replace(image, rendered_by=f"server, process {os.getpid()}")

    def _step(self, done: int, steps: int) -> None:
        self.job.step = done
        if self.on_step is not None:
            self.on_step(done, steps)
        if self.job.stop_code is not None:
            raise StoppedError(stopped(self.job).message)


def stopped(job: Job) -> ProtocolError:
    """The answer to a render that was ended."""
    code = job.stop_code or "cancelled"
    message = "the server is shutting down" if code == "shutting_down" else "it was cancelled"
    return ProtocolError(code, message, job.request_id)
