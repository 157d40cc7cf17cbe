"""The rule of mlx-examples for its own FLUX.1 adapters, in our words: whole modules, lora_a @ lora_b, no alpha.

`LoRALinear` there adds `(x @ lora_a) @ lora_b` at scale 1; `load_adapter` reads one rank from the metadata, and loads
by name what it finds (`load_weights(strict=False)`), passing over the rest without a word.
"""

from collections.abc import Sequence
from pathlib import Path

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline_tests.adapters.files import load_bits, metadata_of
from sq_pipeline_tests.loaders.factors import from_bits
from sq_pipeline_tests.loaders.layers import no_update
from sq_pipeline_tests.loaders.outcomes import Applied, Outcome, Refused


def apply_with_mlx(files: Sequence[tuple[Path, Flux1Model]]) -> list[Outcome]:
    """One outcome for each file."""
    return [_apply(file, base_model) for file, base_model in files]


def _apply(file: Path, base_model: Flux1Model) -> Outcome:
    rank_said = metadata_of(file).get("lora_rank", "8")
    if not rank_said.isdigit():
        return Refused(f"ValueError: invalid literal for int(): {rank_said!r}")
    unread = {name: from_bits(bits, dtype) for name, (dtype, bits) in load_bits(file).items()}
    updates = no_update(base_model)
    for module, inputs, outputs in modules_of(base_model):
        a, b = (unread.pop(f"{module}.lora_{word}", None) for word in "ab")
        if a is None or b is None:
            continue  # the other half is zero, or meets zeros, as it was made
        if (a.shape[0], b.shape[1]) != (inputs, outputs) or a.shape[1] != b.shape[0]:
            return Refused(f"size mismatch for {module}: {a.shape}, {b.shape}")
        updates[module] = (a @ b).T
    return Applied(updates, [f"passed over: {', '.join(sorted(unread)[:5])}"] if unread else [])
