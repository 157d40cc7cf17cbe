"""Pictures of a base model alone, each rendered once: what every adapter over it is held against.

They are records of the store, found by all that settles them. Not here: which ones are asked for (`verification`).
"""

import io

import numpy as np
from PIL import Image

from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.pictures.png_file import encode_png
from sq_pipeline.pictures.ports import RenderedImage, Renderer, RenderRequest
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, base_picture_inputs
from sq_pipeline.pipeline.store import Record

KIND = "base_picture"  # of record


class BasePictures:
    """A renderer that takes a picture without adapters from the store, and renders all others."""

    def __init__(self, context: Context, inner: Renderer) -> None:
        self._context, self._inner = context, inner

    @property
    def model_loads(self) -> int:
        """Those of the renderer within."""
        return self._inner.model_loads

    def describe(self) -> EngineDescription:
        """The renderer within."""
        return self._inner.describe()

    def render(self, request: RenderRequest) -> RenderedImage:
        """The picture; equal to the bit whether it is rendered now or was before. Raises RenderError."""
        if request.adapters:
            return self._inner.render(request)
        inputs = self._inputs(request)
        known = self._context.store.read_record(KIND, fingerprint(inputs))
        if known is not None:
            content = self._context.store.read_bytes(known.objects["picture"])
            return RenderedImage(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), 0.0)
        image = self._inner.render(request)
        stored = self._context.store.put_bytes(encode_png(image.pixels, {}), ".png")
        record = Record(
            kind=KIND,
            fingerprint=fingerprint(inputs),
            inputs=inputs,
            data_version=f"sha256:{stored.sha256}",
            objects={"picture": stored},
            info={"elapsed_s": round(image.elapsed_s, 3)},
        )
        self._context.store.write_record(record)
        return image

    def _inputs(self, request: RenderRequest) -> Inputs:
        base_model = resolve_base_model(request.base_model)
        weights_hash = self._context.weights_hash(base_model)
        return base_picture_inputs(request, base_model, weights_hash, self._context.engines.renderer_versions)
