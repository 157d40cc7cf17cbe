"""What is said of a base model: the record of one, whatever its family, and what only some families have.

Not here: the models (a file a family: `tiny_flux`, `flux1`, `z_image`, `flux2`), their names (`base_models`), their
files on this machine (`files`), mflux's classes for them (`engines.mflux.families`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sq_pipeline.common.tiers import Tier

Dtype = Literal["float32", "bfloat16"]
Family = Literal["flux1", "z-image", "flux2"]
FAMILY_NAMES: Mapping[Family, str] = {"flux1": "FLUX.1", "z-image": "Z-Image", "flux2": "FLUX.2"}

RenderBits = Literal[4, 8]
RENDER_BITS: tuple[RenderBits, ...] = (8, 4)


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


_SIZES: Mapping[Tier, SizePx] = {
    "landscape": SizePx(1344, 768),
    "portrait": SizePx(832, 1216),
    "creature": SizePx(1024, 1024),
    "scene": SizePx(1344, 768),
}


def bits_suffix(bits: RenderBits) -> str:
    """How the name of a quantized base model ends."""
    return f"-{bits}bit"


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """What every base model has. `guidance` is None where the model takes none.

    What only some families have is in their subclass, so that nobody asks it of another.

    `family`: the architecture, which says what adapters for it look like and who trains them. `mflux_name`: what mflux
    calls it; None where mflux does not know it. `hub_name`: its repository; None where it is shipped. `is_gated`: the
    hub gives it to those alone who accepted its licence. `folders` and `files` are what its own folder must hold; with
    `files`, these are all that counts, and they are never looked for in the hub's cache. `single_file`: a file of the
    transformer alone that it can be trained from too.

    `training_size`: of the pictures it is trained on unless the recipe has another. `trained_over` names the base model
    that adapters for this one are trained over, where that is another: a distilled model renders in few steps because
    of a training of its own, which a LoRA training over it would undo.

    `paints_words`: it paints names, dates and quoted words of a prompt as writing.

    `scheduler` is mflux's name of the one that it renders the model with unasked. `render_bits`: its linear layers are
    quantized to so many bits for rendering, see `quantized`; None where they are as in the files.
    """

    name: str
    aliases: tuple[str, ...]
    family: Family
    mflux_name: str | None
    hub_name: str | None
    is_gated: bool = False
    folders: tuple[str, ...]
    files: tuple[str, ...] = ()
    single_file: str | None = None
    num_inference_steps: int
    guidance: float | None = None
    sizes: Mapping[Tier, SizePx] = field(default_factory=lambda: _SIZES)
    training_size: SizePx = SizePx(512, 512)
    trained_over: str | None = None
    reads_negative_prompt: bool = False
    paints_words: bool = True
    scheduler: str = "linear"
    render_bits: RenderBits | None = None

    @property
    def files_name(self) -> str:
        """The name of the base model whose files these are: its own, without the bits of a quantized one."""
        return self.name if self.render_bits is None else self.name.removesuffix(bits_suffix(self.render_bits))

    @property
    def how_to_get(self) -> str:
        """What a person does to have its files."""
        if self.hub_name is None:
            return f"it is shipped in data/models/{self.files_name}; restore that folder from the repository"
        download = f"`hf download {self.hub_name}`"
        if self.is_gated:
            return f"accept the licence of {self.hub_name}, then run `hf auth login` and {download}"
        return f"run {download}"

    def settings_for(self, tier: Tier) -> RenderSettings:
        """What a tier is rendered with unless `sq.yaml` says otherwise."""
        return RenderSettings(self.sizes[tier], self.num_inference_steps, self.guidance)


@dataclass(frozen=True, kw_only=True)
class Flux1Model(BaseModel):
    """One FLUX.1 model. Token budgets include the end mark; the tokenizers are named by their folders.

    `reads_negative_prompt` is False for all of them: mflux 0.24's `Flux1.generate_image` accepts one and ignores it.
    """

    family: Literal["flux1"] = "flux1"
    folders: tuple[str, ...] = ("transformer", "text_encoder", "text_encoder_2", "vae", "tokenizer", "tokenizer_2")
    double_blocks: int
    single_blocks: int
    hidden_size: int
    t5_tokenizer: str = "tokenizer_2"
    t5_token_budget: int
    clip_tokenizer: str = "tokenizer"
    clip_token_budget: int = 77

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
    """One model that reads its prompts through a Qwen3: Z-Image and FLUX.2 klein.

    `token_budget` counts the words of the chat template around the prompt too. `assistant` is an adapter of the hub
    (`repository:file`) that mflux-train puts under the training of a distilled model, where there is one.
    `transformer_sizes`: arguments of mflux's constructor where the model is not of the sizes that mflux has for it.
    """

    family: Literal["z-image", "flux2"]
    mflux_name: str
    folders: tuple[str, ...] = ("transformer", "text_encoder", "vae", "tokenizer")
    token_budget: int = 512
    assistant: str | None = None
    transformer_sizes: Mapping[str, int] = field(default_factory=dict[str, int])
