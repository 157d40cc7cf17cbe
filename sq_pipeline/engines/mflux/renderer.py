"""Rendering through mflux, in process: one base model loaded at a time, adapters swapped on it.

Here: checking a request, and what it became. Not here: how adapters are put on (`adapter_stack`), mflux's classes for
the families (`mflux.pipelines`).
"""

import contextlib
import io
import logging
import time
from collections.abc import Mapping

import mlx.core as mx
import numpy as np
from mflux.utils.exceptions import StopImageGenerationException

from sq_pipeline.base_models import files
from sq_pipeline.base_models.base_models import BaseModel, resolve_base_model
from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.errors import Fault, RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import blas, versions
from sq_pipeline.engines.mflux import token_counters
from sq_pipeline.engines.mflux.adapter_stack import AdapterStack
from sq_pipeline.engines.mflux.dtype import use_float32
from sq_pipeline.engines.mflux.loader_targets import mapping_for
from sq_pipeline.engines.mflux.pipelines import open_pipeline
from sq_pipeline.engines.mflux.watching import watching
from sq_pipeline.pictures.ports import OnStep, RenderedImage, RenderRequest
from sq_pipeline.telemetry.spans import span

_log = logging.getLogger(__name__)


class _Loaded:
    """A base model in memory, of the files that `stamp` tells of."""

    def __init__(self, base_model: BaseModel, data: DataDir, stamp: files.ModelStamp, ready_bytes: int) -> None:
        folder = files.base_model_folder(base_model, data)
        self.stamp = stamp
        self.base_model = base_model
        self.tokens = token_counters.open_counter(base_model, folder)
        start = time.perf_counter()
        blas.use_threads_for(base_model)
        self.pipeline = open_pipeline(base_model, folder)
        self.adapters = AdapterStack(self.pipeline.transformer, mapping_for(base_model), ready_bytes)
        _log.info("loaded %s in %.1f s", base_model.name, time.perf_counter() - start)


class MfluxRenderer:
    """The `Renderer` of `pictures.ports` over mflux, which can be watched.

    `ready_bytes`: how much memory the stacks of adapters that were used last may take.
    """

    def __init__(self, data: DataDir, ready_bytes: int = 0) -> None:
        self._data = data
        self._ready_bytes = ready_bytes
        self._loaded: _Loaded | None = None
        self._model_loads = 0
        self._swaps_before, self._reads_before = 0, 0

    @property
    def model_loads(self) -> int:
        """How many times a base model was loaded since this renderer was made."""
        return self._model_loads

    def figures(self) -> Mapping[str, int]:
        """Loads, stack swaps and adapter files read since this renderer was made; bytes of the ready stacks."""
        stack = None if self._loaded is None else self._loaded.adapters
        return {
            "model_loads": self._model_loads,
            "stack_swaps": self._swaps_before + (stack.swaps if stack else 0),
            "adapter_reads": self._reads_before + (stack.files_read if stack else 0),
            "ready_bytes": stack.ready_bytes if stack else 0,
        }

    def close(self) -> None:
        """Let go of the model. A thread that ends with MLX's streams still in it can end the whole process."""
        self._loaded = None
        mx.synchronize()
        mx.clear_streams()

    def describe(self) -> EngineDescription:
        """Name, versions and chip; see `registry.describe_renderer`."""
        return versions.describe_renderer()

    def _load(self, name: str) -> _Loaded:
        base_model = resolve_base_model(name)
        stamp = files.base_model_stamp(base_model, self._data)
        loaded = self._loaded
        if loaded is None or loaded.base_model.name != base_model.name or loaded.stamp != stamp:
            figures = self.figures()
            self._swaps_before, self._reads_before = figures["stack_swaps"], figures["adapter_reads"]
            self._loaded = loaded = None  # free the old model before the new one takes its place
            with span("flux_mlx.load_model", {"model.name": base_model.name}):
                use_float32()
                self._loaded = loaded = _Loaded(base_model, self._data, stamp, self._ready_bytes)
            self._model_loads += 1
        return loaded

    def render(self, request: RenderRequest, on_step: OnStep | None = None) -> RenderedImage:
        """One picture; raises RenderError (an adapter not applied whole, sizes, a prompt that would be cut).

        `on_step(done, steps)` is called after every step, and what it raises ends the picture and passes through.
        """
        loaded = self._load(request.base_model)
        self._check(request, loaded)
        start = time.perf_counter()
        applied = loaded.adapters.use(request.adapters)
        try:
            # mflux draws a progress bar for each picture; the caller shows progress over pictures
            with contextlib.redirect_stderr(io.StringIO()), watching(loaded.pipeline.callbacks, on_step):
                image = loaded.pipeline.draw(request)
        except StopImageGenerationException:
            raise KeyboardInterrupt from None  # mflux turns Ctrl-C into its own exception
        pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
        return RenderedImage(pixels=pixels, elapsed_s=time.perf_counter() - start, applied=applied)

    @staticmethod
    def _check(request: RenderRequest, loaded: _Loaded) -> None:
        faults: list[Fault] = []
        for field, value in (
            ("width_px", request.width_px),
            ("height_px", request.height_px),
        ):
            if value < 16 or value % 16:
                faults.append(
                    Fault(
                        "",
                        field,
                        f"{value} is not a multiple of 16",
                        "mflux would round it down; change it",
                    )
                )
        counts = loaded.tokens.count_tokens(request.positive_prompt)
        if counts.tokens > counts.budget:
            faults.append(
                Fault(
                    "",
                    "positive_prompt",
                    f"{counts.tokens} tokens, {counts.budget} are read",
                    "shorten the prompt",
                )
            )
        if request.clip_prompt is not None:
            counts = loaded.tokens.count_tokens(request.clip_prompt)
            if counts.clip is None or counts.clip_budget is None:
                problem = f"{loaded.base_model.name} has no CLIP"
                faults.append(Fault("", "clip_prompt", problem, "leave it out"))
            elif counts.clip > counts.clip_budget:
                problem = f"{counts.clip} tokens, {counts.clip_budget} are read"
                faults.append(Fault("", "clip_prompt", problem, "shorten it"))
        if faults:
            raise RenderError(faults)
