"""A render on its way through the server, and the one thread in which all of them are rendered. Not here: sockets."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sq_pipeline.core.errors import SqPipelineError
from sq_pipeline.core.protocols import RenderRequest, WatchedRenderer
from sq_pipeline.core.render_protocol import Code, ProtocolError, RenderParams, RequestId
from sq_pipeline.serve.pictures import write_picture
from sq_pipeline.serve.render_calls import describe_picture, to_error
from sq_pipeline.storage.layout import DataDir


class StoppedError(Exception):
    """A render is ended between two steps."""


@dataclass(eq=False)
class Job:
    """One accepted render. `stop_code` is set when it is to end without a picture, and says why."""

    client: Any
    request_id: RequestId
    params: RenderParams
    request: RenderRequest
    since: float = field(default_factory=time.monotonic)
    stop_code: Code | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self, code: Code) -> None:
        """Let it end at the next step; the first reason counts."""
        with self._lock:
            self.stop_code = self.stop_code or code


class Workbench:
    """Renders jobs, one after the other; all calls come from one thread, in which MLX is at home."""

    def __init__(self, data: DataDir, renderer: WatchedRenderer, weights_hash: Callable[[str], str]) -> None:
        self._data, self._renderer, self._weights_hash = data, renderer, weights_hash
        self._engine = renderer.describe()  # of the code that is loaded, whatever is installed meanwhile

    def render(self, job: Job, on_step: Callable[[int, int], None] | None) -> dict[str, Any]:
        """The result of a job. Raises ProtocolError; any other exception is a bug, of ours or of an engine."""
        start = time.monotonic()
        loads = self._renderer.figures()["model_loads"]

        def step(done: int, steps: int) -> None:
            if on_step is not None:
                on_step(done, steps)
            if job.stop_code is not None:
                raise StoppedError

        try:
            weights = self._weights_hash(job.request.base_model)
            if job.params.base_weights not in (None, weights):
                message = f"{job.request.base_model} has other weights here: {weights}"
                raise ProtocolError("weights_differ", message, job.request_id)
            if job.stop_code is not None:
                raise StoppedError
            image = self._renderer.render(job.request, step)
            if self._weights_hash(job.request.base_model) != weights:
                message = f"{job.request.base_model} was replaced while it rendered"
                raise ProtocolError("weights_differ", message, job.request_id)
            what = describe_picture(self._data, job.params, job.request, image)
            engine = self._engine
            asked = {"positive_prompt": job.params.positive_prompt, "clip_prompt": job.params.clip_prompt}
            made_by = {**what, **asked, "base_weights": weights, "engine": engine.name, "versions": engine.versions}
            path = write_picture(self._data, image.pixels, {**made_by, "chip": engine.chip})
        except StoppedError:
            raise stopped(job) from None
        except SqPipelineError as error:
            raise to_error(error, self._data, job.request_id) from error
        return {
            "image_path": self._data.relative(path),
            **what,
            "base_weights": weights,
            "elapsed_ms": round(1000 * image.elapsed_s, 1),
            "waited_ms": round(1000 * (start - job.since), 1),
            "model_loads": self._renderer.figures()["model_loads"] - loads,
        }


def stopped(job: Job) -> ProtocolError:
    """The answer to a render that was ended."""
    code = job.stop_code or "cancelled"
    message = "the server is shutting down" if code == "shutting_down" else "it was cancelled"
    return ProtocolError(code, message, job.request_id)
