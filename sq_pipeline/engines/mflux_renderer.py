"""Rendering through mflux, in process: one base model loaded at a time, adapters swapped on it.

Here: checking a request, and what it became. Not here: how adapters are put on (`adapter_stack`), mflux's classes for
the families (`mflux_pipelines`).
"""

import contextlib
import io
import logging
import time

import numpy as np
from mflux.utils.exceptions import StopImageGenerationException

from sq_pipeline.core.base_models import BaseModel, resolve_base_model
from sq_pipeline.core.errors import Fault, RenderError
from sq_pipeline.core.protocols import EngineDescription, RenderedImage, RenderRequest
from sq_pipeline.engines import registry, token_counters
from sq_pipeline.engines.adapter_stack import AdapterStack
from sq_pipeline.engines.loader_targets import mapping_for
from sq_pipeline.engines.mflux_pipelines import open_pipeline
from sq_pipeline.engines.tiny_flux import mflux_build
from sq_pipeline.storage.layout import DataDir
from sq_pipeline.telemetry.spans import span

_log = logging.getLogger(__name__)


class _Loaded:
    """A base model in memory."""

    def __init__(self, base_model: BaseModel, data: DataDir) -> None:
        folder = registry.base_model_folder(base_model, data)
        self.base_model = base_model
        self.tokens = token_counters.open_counter(base_model, folder)
        start = time.perf_counter()
        self.pipeline = open_pipeline(base_model, folder)
        self.adapters = AdapterStack(self.pipeline.transformer, mapping_for(base_model))
        _log.info("loaded %s in %.1f s", base_model.name, time.perf_counter() - start)


class MfluxRenderer:
    """The `Renderer` of `core.protocols` over mflux."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._loaded: _Loaded | None = None
        self._model_loads = 0

    @property
    def model_loads(self) -> int:
        """How many times a base model was loaded since this renderer was made."""
        return self._model_loads

    def describe(self) -> EngineDescription:
        """Name, versions and chip; see `registry.describe_renderer`."""
        return registry.describe_renderer()

    def _load(self, name: str) -> _Loaded:
        base_model = resolve_base_model(name)
        if self._loaded is None or self._loaded.base_model.name != base_model.name:
            self._loaded = None  # free the old model before the new one takes its place
            with span("flux_mlx.load_model", {"model.name": base_model.name}):
                mflux_build.use_float32()
                self._loaded = _Loaded(base_model, self._data)
            self._model_loads += 1
        return self._loaded

    def render(self, request: RenderRequest) -> RenderedImage:
        """One picture; raises RenderError (an adapter not applied whole, sizes, a prompt that would be cut)."""
        loaded = self._load(request.base_model)
        self._check(request, loaded)
        start = time.perf_counter()
        applied = loaded.adapters.use(request.adapters)
        try:
            # mflux draws a progress bar for each picture; the caller shows progress over pictures
            with contextlib.redirect_stderr(io.StringIO()):
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
        if faults:
            raise RenderError(faults)
