"""The linear layers of mflux's FLUX.1 blocks that adapters change: path, shape, and which rows of which BFL module.

Not here: weights (`mflux_names`), mflux's own list of what its loader looks for (`loader_targets`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sq_pipeline.adapters.form import parts_of
from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.engines.flux.mflux_names import DOUBLE_NAMES, SINGLE_NAMES

_TABLES = {
    "double_blocks": ("transformer_blocks", DOUBLE_NAMES),
    "single_blocks": ("single_transformer_blocks", SINGLE_NAMES),
}


@dataclass(frozen=True)
class MfluxLayer:
    """One layer: its weight is (outputs, inputs), the rows `rows` of the module's (module_outputs, inputs).

    `module` is BFL's, or of another family that of its keymap. `part` is the layer's name within a module that
    mflux has in parts (`q`), empty otherwise.
    """

    path: str
    module: str
    part: str
    inputs: int
    outputs: int
    rows: tuple[int, int]
    module_outputs: int

    @property
    def slot(self) -> str:
        """Module and part as one name, as `adapters.form` has it."""
        return f"{self.module}.{self.part}" if self.part else self.module


def layers_of(base_model: Flux1Model) -> Iterator[MfluxLayer]:
    """Every such layer of a base model, block by block."""
    for module, inputs, outputs in modules_of(base_model):
        stem, index, kind = module.split(".", 2)
        blocks, names = _TABLES[stem]
        parts = parts_of(module) or (("", 1),)
        targets = names[kind]
        paths = (targets,) if isinstance(targets, str) else targets
        at, share = 0, outputs // sum(size for _, size in parts)
        for (part, size), path in zip(parts, paths, strict=True):
            rows = (at, at + size * share)
            yield MfluxLayer(f"{blocks}.{index}.{path}", module, part, inputs, size * share, rows, outputs)
            at += size * share
