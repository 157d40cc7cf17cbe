"""The registry of base models: names, aliases and what each renders and trains with by default.

Here: facts about the models. Not here: finding or loading their weights (`engines.factory`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.common.tiers import Tier

Family = Literal["flux1", "z-image", "flux2"]


RenderBits = Literal[4, 8]


RENDER_BITS: tuple[RenderBits, ...] = (8, 4)


FAMILY_NAMES: Mapping[Family, str] = {"flux1": "FLUX.1", "z-image": "Z-Image", "flux2": "FLUX.2"}


@dataclass(frozen=True)
class SizePx:
    """Width and height of a picture in pixels, multiples of 16."""

    width_px: int
    height_px: int


@dataclass(frozen=True)
class RenderSettings:
    """What the pictures of a tier are rendered with; `guidance` is None where the model takes none."""

    size: SizePx
    num_inference_steps: int
    guidance: float | None


@dataclass(frozen=True, kw_only=True)
class BaseModel(ABC):
    """What every base model has. `guidance` is None where the model takes none.

    What only one architecture has is in its subclass, so that nobody asks it of another.
    `scheduler` is mflux's name of the one that it renders the model with unasked. `render_bits`: its linear layers are
    quantized to so many bits for rendering, see `quantized`; None where they are as in the files.
    """

    name: str
    aliases: tuple[str, ...]
    num_inference_steps: int
    guidance: float | None
    sizes: Mapping[Tier, SizePx]
    training_size: SizePx
    how_to_get: str
    reads_negative_prompt: bool = False
    scheduler: str = "linear"
    render_bits: RenderBits | None = None

    @property
    def files_name(self) -> str:
        """The name of the base model whose files these are: its own, without the bits of a quantized one."""
        return self.name if self.render_bits is None else self.name.removesuffix(_suffix(self.render_bits))

    @property
    @abstractmethod
    def family(self) -> Family:
        """The architecture, which says what adapters for it look like and who trains them."""

    def settings_for(self, tier: Tier) -> RenderSettings:
        """What a tier is rendered with unless `sq.yaml` says otherwise."""
        return RenderSettings(self.sizes[tier], self.num_inference_steps, self.guidance)


@dataclass(frozen=True, kw_only=True)
class Flux1Model(BaseModel):
    """One FLUX.1 model. Token budgets include the end mark.

    `reads_negative_prompt` is False for all of them: mflux 0.24's `Flux1.generate_image` accepts one and ignores it.
    """

    double_blocks: int
    single_blocks: int
    hidden_size: int
    t5_token_budget: int
    clip_token_budget: int

    @property
    def family(self) -> Family:
        """Always FLUX.1."""
        return "flux1"

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


@dataclass(frozen=True, kw_only=True)
class QwenModel(BaseModel):
    """One model that reads its prompts through a Qwen3: Z-Image and FLUX.2 klein. `mflux_name`: what mflux calls it.

    `token_budget` counts the words of the chat template around the prompt too. `trained_over` names the base model
    that adapters for this one are trained over, where that is another: a distilled model renders in few steps because
    of a training of its own, which a LoRA training over it would undo. `assistant` is an adapter of the hub
    (`repository:file`) that mflux-train puts under the training for the same reason, where there is one.
    `transformer_sizes`: arguments of mflux's constructor where the model is not of the sizes that mflux has for it.
    """

    family_name: Literal["z-image", "flux2"]
    mflux_name: str
    token_budget: int = 512
    trained_over: str | None = None
    assistant: str | None = None
    transformer_sizes: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def family(self) -> Family:
        """Z-Image or FLUX.2."""
        return self.family_name


_FLUX_SIZES: Mapping[Tier, SizePx] = {
    "landscape": SizePx(1344, 768),
    "portrait": SizePx(832, 1216),
    "creature": SizePx(1024, 1024),
    "scene": SizePx(1344, 768),
}


_TINY_SIZES: Mapping[Tier, SizePx] = {
    "landscape": SizePx(128, 96),
    "portrait": SizePx(96, 128),
    "creature": SizePx(112, 112),
    "scene": SizePx(128, 96),
}


FLUX1_MODELS: Mapping[str, Flux1Model] = {
    model.name: model
    for model in (
        Flux1Model(
            name="tiny-flux",
            aliases=("tiny",),
            double_blocks=2,
            single_blocks=4,
            hidden_size=256,
            num_inference_steps=8,
            guidance=None,
            t5_token_budget=96,
            clip_token_budget=77,
            sizes=_TINY_SIZES,
            training_size=SizePx(128, 96),
            how_to_get="it is shipped in data/models/tiny-flux; restore that folder from the repository",
        ),
        Flux1Model(
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
        Flux1Model(
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


# steps and guidance: mflux 0.24's own and, for the undistilled ones, those of the models' cards
QWEN_MODELS: Mapping[str, QwenModel] = {
    model.name: model
    for model in (
        QwenModel(
            name="z-image",
            aliases=("zimage",),
            family_name="z-image",
            mflux_name="z-image",
            scheduler="flow_match_euler_discrete",
            num_inference_steps=50,
            guidance=4.0,
            sizes=_FLUX_SIZES,
            training_size=SizePx(512, 512),
            how_to_get="run `hf download Tongyi-MAI/Z-Image`",
            reads_negative_prompt=True,
        ),
        QwenModel(
            name="z-image-turbo",
            aliases=("zimage-turbo",),
            family_name="z-image",
            mflux_name="z-image-turbo",
            assistant="ostris/zimage_turbo_training_adapter:zimage_turbo_training_adapter_v2.safetensors",
            num_inference_steps=9,
            guidance=None,
            sizes=_FLUX_SIZES,
            training_size=SizePx(512, 512),
            how_to_get="run `hf download Tongyi-MAI/Z-Image-Turbo`",
        ),
        QwenModel(
            name="flux2-klein-4b",
            aliases=("flux2-klein", "klein-4b", "klein"),
            family_name="flux2",
            mflux_name="flux2-klein-4b",
            scheduler="flow_match_euler_discrete",
            trained_over="flux2-klein-base-4b",
            num_inference_steps=4,
            guidance=None,
            sizes=_FLUX_SIZES,
            training_size=SizePx(512, 512),
            how_to_get="run `hf download black-forest-labs/FLUX.2-klein-4B`",
        ),
        QwenModel(
            name="flux2-klein-base-4b",
            aliases=("flux2-base-4b", "klein-base-4b"),
            family_name="flux2",
            mflux_name="flux2-klein-base-4b",
            scheduler="flow_match_euler_discrete",
            num_inference_steps=50,
            guidance=4.0,
            sizes=_FLUX_SIZES,
            training_size=SizePx(512, 512),
            how_to_get="run `hf download black-forest-labs/FLUX.2-klein-base-4B`",
        ),
    )
}


BASE_MODELS: Mapping[str, BaseModel] = {**FLUX1_MODELS, **QWEN_MODELS}


DEFAULT_BASE_MODEL = "tiny-flux"


_Model = TypeVar("_Model", bound=BaseModel)


def _suffix(bits: RenderBits) -> str:
    return f"-{bits}bit"


def quantized(base_model: _Model, bits: RenderBits) -> _Model:
    """The sibling `<name>-8bit` or `<name>-4bit`, with aliases likewise: the same files, quantized when loaded."""
    names = tuple(alias + _suffix(bits) for alias in base_model.aliases)
    return replace(base_model, name=base_model.name + _suffix(bits), aliases=names, render_bits=bits)


def resolve_base_model(name: str) -> BaseModel:
    """The base model with that name or alias (case does not count), quantized where the name ends so.

    Raises BaseModelError for any other.
    """
    wanted = name.strip().lower()
    bits: RenderBits | None = next((bits for bits in RENDER_BITS if wanted.endswith(_suffix(bits))), None)
    plain = wanted if bits is None else wanted.removesuffix(_suffix(bits))
    for model in BASE_MODELS.values():
        if plain == model.name or plain in model.aliases:
            return model if bits is None else quantized(model, bits)
    problem = f"unknown base model {name!r}"
    raise BaseModelError(Fault("", "preferred_model", problem, f"use one of {known_names()}"))


def known_names() -> str:
    """The names that `resolve_base_model` knows, for an error's text."""
    endings = " or ".join(map(_suffix, RENDER_BITS))
    return f"{', '.join(sorted(BASE_MODELS))}, or one with {endings} after it"


def training_base_of(base_model: BaseModel) -> BaseModel:
    """What adapters for a base model are trained over: itself unquantized, or its undistilled sibling.

    Raises BaseModelError.
    """
    name = base_model.trained_over if isinstance(base_model, QwenModel) else None
    if name is None and base_model.render_bits is None:
        return base_model
    return resolve_base_model(name or base_model.files_name)


def as_flux1(base_model: BaseModel, wanted_for: str) -> Flux1Model:
    """The base model as a FLUX.1; raises BaseModelError, which names what it was `wanted_for`, for any other family."""
    if isinstance(base_model, Flux1Model):
        return base_model
    known = ", ".join(FLUX1_MODELS)
    problem = f"{base_model.name} is a {FAMILY_NAMES[base_model.family]}: {wanted_for} is for FLUX.1 alone"
    raise BaseModelError(Fault("", "base_model", problem, f"use one of {known}"))


Dtype = Literal["float32", "bfloat16"]
