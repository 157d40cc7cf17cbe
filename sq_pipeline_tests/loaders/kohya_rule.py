"""The rule of sd-scripts for a FLUX.1 LoRA, in our words: fused modules, alpha / rank · up @ down, an alpha for each.

`create_network_from_weights` there takes ranks and alphas by name; a module without an alpha is a KeyError. Names it
does not know are told and skipped.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline_tests.adapters.files import load_bits
from sq_pipeline_tests.loaders.factors import from_bits
from sq_pipeline_tests.loaders.layers import no_update
from sq_pipeline_tests.loaders.outcomes import Applied, Outcome, Refused


def apply_with_kohya(files: Sequence[tuple[Path, Flux1Model]]) -> list[Outcome]:
    """One outcome for each file."""
    return [_apply(file, base_model) for file, base_model in files]


def _apply(file: Path, base_model: Flux1Model) -> Outcome:
    unread = {name: from_bits(bits, dtype) for name, (dtype, bits) in load_bits(file).items()}
    updates = no_update(base_model)
    for module, inputs, outputs in modules_of(base_model):
        name = "lora_unet_" + module.replace(".layers.", ".").replace(".", "_")
        down, up = (unread.pop(f"{name}.lora_{word}.weight", None) for word in ("down", "up"))
        alpha = unread.pop(f"{name}.alpha", None)
        if down is None:
            continue
        if alpha is None:
            return Refused(f"KeyError: {name!r} has no alpha")
        rank = down.shape[0]
        shapes = down.shape, None if up is None else up.shape
        if up is None or shapes != ((rank, inputs), (outputs, rank)):
            return Refused(f"size mismatch for {name}: {shapes}, not {((rank, inputs), (outputs, rank))}")
        updates[module] = np.float64(alpha) / rank * (up @ down)
    return Applied(updates, [f"unexpected keys: {', '.join(sorted(unread)[:5])}"] if unread else [])
