"""Pictures that a judgement looks at, each rendered once: records of the store, found by all that settles them.

Those of a base model alone are what every adapter over it is held against; those of an adapter under test are looked at
when a checkpoint is chosen, and again when what came of it is verified. Not here: which ones are asked for
(`verification`).
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.fingerprints import fingerprint, hash_file
from sq_pipeline.pictures.png_file import encode_png
from sq_pipeline.pictures.ports import AppliedAdapter, RenderedImage, Renderer, RenderRequest
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, kept_picture_inputs
from sq_pipeline.pipeline.store import Record

# Kinds of record. The first says what an adapter changed; nobody but a judgement asks for the second.
BASE, STYLED = "base_picture", "judged_picture"
_COUNTS = ("keys_matched", "keys_total", "layers_patched", "layers_expected")  # of `AppliedAdapter`, in its order


class KeptPictures:
    """A renderer that takes a picture from the store where it is there.

    Without adapters always; with adapters where `keeps_styled`, found by the bytes of their files.
    """

    def __init__(self, context: Context, inner: Renderer, *, keeps_styled: bool = False) -> None:
        self._context, self._inner, self._keeps_styled = context, inner, keeps_styled
        self._hashes: dict[Path, str] = {}

    @property
    def model_loads(self) -> int:
        """Those of the renderer within."""
        return self._inner.model_loads

    def describe(self) -> EngineDescription:
        """The renderer within."""
        return self._inner.describe()

    def render(self, request: RenderRequest) -> RenderedImage:
        """The picture; equal to the bit whether it is rendered now or was before. Raises RenderError."""
        if request.adapters and not self._keeps_styled:
            return self._inner.render(request)
        kind, inputs = STYLED if request.adapters else BASE, self._inputs(request)
        known = self._context.store.read_record(kind, fingerprint(inputs))
        if known is not None:
            content = self._context.store.read_bytes(known.objects["picture"])
            return RenderedImage(
                np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), 0.0, _applied(request, known)
            )
        image = self._inner.render(request)
        stored = self._context.store.put_bytes(encode_png(image.pixels, {}), ".png")
        counts = [
            [each.keys_matched, each.keys_total, each.layers_patched, each.layers_expected] for each in image.applied
        ]
        record = Record(
            kind=kind,
            fingerprint=fingerprint(inputs),
            inputs=inputs,
            data_version=f"sha256:{stored.sha256}",
            objects={"picture": stored},
            info={"elapsed_s": round(image.elapsed_s, 3), **({"applied": counts} if counts else {})},
        )
        self._context.store.write_record(record)
        return image

    def _inputs(self, request: RenderRequest) -> Inputs:
        base_model = resolve_base_model(request.base_model)
        weights_hash = self._context.weights_hash(base_model)
        stack = [(self._hash(use.path), use.lora_scale) for use in request.adapters]
        return kept_picture_inputs(request, base_model, weights_hash, self._context.engines.renderer_versions, stack)

    def _hash(self, path: Path) -> str:
        """Of a file that does not change while it is judged."""
        if path not in self._hashes:
            self._hashes[path] = hash_file(path)
        return self._hashes[path]


def _applied(request: RenderRequest, known: Record) -> tuple[AppliedAdapter, ...]:
    """What the loader did with the adapters when the picture was rendered."""
    told = known.info.get("applied", [])
    return tuple(
        AppliedAdapter(use.path, use.lora_scale, *counts) for use, counts in zip(request.adapters, told, strict=False)
    )
