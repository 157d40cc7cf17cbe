"""The linear layers of Z-Image and FLUX.2 that adapters change, in the terms that a fidelity is measured in.

Shapes are those of mflux's own transformer; which of a fused matrix's rows a layer gets is `adapters.form`'s word.
"""

from collections.abc import Iterator

from sq_pipeline.adapters.form import parts_of
from sq_pipeline.adapters.slots import slot_of_layer
from sq_pipeline.base_models.base_models import QwenModel
from sq_pipeline.engines.mflux.families import shapes_of
from sq_pipeline.engines.mflux.flux_layers import MfluxLayer


def layers_of(base_model: QwenModel) -> Iterator[MfluxLayer]:
    """Every such layer, in the order of mflux's mapping."""
    shapes = shapes_of(base_model)
    for path, (outputs, inputs) in shapes.items():
        module, part = slot_of_layer(path)
        siblings = [path.removesuffix(part) + name for name, _ in parts_of(module)] if part else [path]
        heights = [shapes[sibling][0] for sibling in siblings]
        before = sum(heights[: siblings.index(path)])
        yield MfluxLayer(path, module, part, inputs, outputs, (before, before + outputs), sum(heights))
