"""The registry of base models: names, aliases and what each renders and trains with by default.

Here: facts about the models. Not here: finding or loading their weights (`engines.registry`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sq_pipeline.core.errors import BaseModelError, Fault


@dataclass(frozen=True)
class SizePx:
    """Width and height of a picture in pixels, multiples of 16."""

    width_px: int
    height_px: int


@dataclass(frozen=True)
class BaseModel:
    """One FLUX.1 model. Token budgets include the end mark. `guidance` is None where the model takes none.

    `scheduler` is mflux's name of the one that it renders the model with unasked.
    `reads_negative_prompt` is False for all of FLUX.1: mflux 0.24's `Flux1.generate_image` accepts one and ignores it.
    """

    name: str
    aliases: tuple[str, ...]
    double_blocks: int
    single_blocks: int
    hidden_size: int
    num_inference_steps: int
    guidance: float | None
    t5_token_budget: int
    clip_token_budget: int
    sizes: Mapping[str, SizePx]
    training_size: SizePx
    how_to_get: str
    reads_negative_prompt: bool = False
    scheduler: str = "linear"

    @property
    def adapter_modules(self) -> int:
        """Modules an adapter over all blocks covers: 10 a double block, 3 a single block."""
        return 10 * self.double_blocks + 3 * self.single_blocks

    @property
    def adapter_tensors(self) -> int:
        """Tensors of an MLX adapter over all blocks (`lora_a` and `lora_b` of each module)."""
        return 2 * self.adapter_modules

    @property
    def patched_layers(self) -> int:
        """Layers mflux patches for an adapter over all blocks: fused q/k/v (and MLP) are split there."""
        return 14 * self.double_blocks + 6 * self.single_blocks

    def size_for(self, tier: str) -> SizePx:
        """The picture size of a tier; tiers not named in `sizes` use `landscape`."""
        return self.sizes.get(tier, self.sizes["landscape"])


_FLUX_SIZES = {
    "landscape": SizePx(1344, 768),
    "portrait": SizePx(832, 1216),
    "creature": SizePx(1024, 1024),
}

BASE_MODELS: Mapping[str, BaseModel] = {
    model.name: model
    for model in (
        BaseModel(
            name="tiny-flux",
            aliases=("tiny",),
            double_blocks=2,
            single_blocks=4,
            hidden_size=256,
            num_inference_steps=8,
            guidance=None,
            t5_token_budget=96,
            clip_token_budget=77,
            sizes={"landscape": SizePx(128, 96)},
            training_size=SizePx(128, 96),
            how_to_get="it is shipped in data/models/tiny-flux; restore that folder from the repository",
        ),
        BaseModel(
            name="flux1-dev",
            aliases=("dev", "flux", "flux1.dev", "flux.1-dev"),
            double_blocks=19,
            single_blocks=38,
            hidden_size=3072,
            num_inference_steps=25,
            guidance=3.5,
            t5_token_budget=512,
            clip_token_budget=77,
            sizes=_FLUX_SIZES,
            training_size=SizePx(512, 512),
            how_to_get=(
                "accept the licence of black-forest-labs/FLUX.1-dev, then run "
                "`hf auth login` and `hf download black-forest-labs/FLUX.1-dev`"
            ),
        ),
        BaseModel(
            name="flux1-schnell",
            aliases=("schnell", "flux1.schnell", "flux.1-schnell"),
            double_blocks=19,
            single_blocks=38,
            hidden_size=3072,
            num_inference_steps=4,
            guidance=None,
            t5_token_budget=256,
            clip_token_budget=77,
            sizes=_FLUX_SIZES,
            training_size=SizePx(512, 512),
            how_to_get="run `hf download black-forest-labs/FLUX.1-schnell`",
        ),
    )
}

DEFAULT_BASE_MODEL = "tiny-flux"


def resolve_base_model(name: str) -> BaseModel:
    """The base model with that name or alias (case does not count); raises BaseModelError for any other."""
    wanted = name.strip().lower()
    for model in BASE_MODELS.values():
        if wanted == model.name or wanted in model.aliases:
            return model
    known = ", ".join(sorted(BASE_MODELS))
    raise BaseModelError(Fault("", "preferred_model", f"unknown base model {name!r}", f"use one of {known}"))
