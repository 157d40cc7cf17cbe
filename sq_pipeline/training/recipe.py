"""The training recipe: one place for every default of a LoRA training. Read from a dataset's `lora.yaml`."""

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sq_pipeline.base_models.base_models import known_names, resolve_base_model
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.fingerprints import counted_fields
from sq_pipeline.common.gate_overrides import GateOverrides

TrainerName = Literal["mlx", "mlx-examples", "mflux-train"]

CaptionStyle = Literal["trigger", "sentence"]


_Side = Annotated[int, Field(ge=16, le=4096, multiple_of=16)]


_Line = Annotated[str, Field(min_length=1, max_length=2000)]


class Recipe(BaseModel):
    """How to train one LoRA. Defaults are mlx-examples' FLUX.1 ones; what it does not have is off. No default is to be
    changed: what was trained without the field would be made again.

    The text under a field is its line in the documentation's table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # strict: `true` is no number

    name: str | None = None
    """A name for people. It changes nothing."""
    kind: Literal["style", "subject"] = "style"
    """`style`: every caption is the trigger, or what `caption_styles` allow. `subject`: each is a sentence of its own
    that holds it."""
    trigger: str | None = None
    """The word that wakes the adapter. A dataset without one is an error."""
    trigger_required: bool = False
    """The style must show only where the trigger is called; a verification fails where it shows unasked."""
    gate: GateOverrides = GateOverrides()
    """Limits of the gate for this adapter, each with its reason, above those of `sq.yaml` for all and for its tier."""
    base_model: str | None = None
    """The base model to train over. Left out: the world's."""
    trainer: TrainerName | None = None
    """Who trains. Left out: the `trainer` of `sq.yaml`."""
    rank: int = Field(default=8, ge=1, le=256)
    """The rank of the update."""
    alpha: float | None = Field(default=None, gt=0, le=4096)
    """The update is `alpha` / `rank` · B·A. Left out: the rank, so that the scale is 1."""
    modules: tuple[_Line, ...] = Field(default=("*",), min_length=1, strict=False)
    """What is trained: patterns over module names, such as `single_blocks.*` or `*.img_attn.qkv`. For FLUX.1 they are
    BFL's names, for other families mflux's. A pattern that matches nothing is an error of the training."""
    iterations: int = Field(default=600, ge=1, le=1_000_000)
    """How long it trains. One iteration sees one batch."""
    batch_size: int = Field(default=1, ge=1, le=256)
    """Pictures in one batch."""
    grad_accumulation: int = Field(default=4, ge=1, le=256)
    """Iterations whose gradients are added up for one optimizer step."""
    learning_rate: float = Field(default=1e-4, gt=0, lt=1)
    """Adam's peak learning rate. It rises linearly, then falls on a cosine."""
    warmup_steps: int = Field(default=100, ge=0)
    """Optimizer steps over which the learning rate rises."""
    guidance: float = Field(default=4.0, ge=0)
    """The guidance that is trained at, for base models that take one."""
    resolution: tuple[_Side, _Side] | None = Field(default=None, strict=False)
    """`[width, height]` in pixels. Left out: the base model's training size."""
    aspect_buckets: bool = False
    """Each picture is trained at the one of several sizes, all of about that area, whose shape fits it best. Off: all
    are cut to one size."""
    num_augmentations: int = Field(default=5, ge=1, le=100)
    """Random crops of each picture."""
    crop_min: float = Field(default=0.8, gt=0, le=1)
    """The smallest crop, as a share of the picture's sides; the largest is the whole."""
    flip: bool = False
    """Crops are mirrored as often as not."""
    caption_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of draws whose caption is empty."""
    caption_styles: tuple[CaptionStyle, ...] = Field(default=("trigger",), strict=False)
    """What a style's pictures are shown under: `trigger`, the bare word, and `sentence`, the trigger and the picture's
    own words. Captions are then `trigger, words`. With both each draw takes one of them, as often one as the other."""
    prior_mix: float = Field(default=0.0, ge=0, lt=1)
    """Share of draws that show pictures which the base model itself makes of `prior_prompts`. Beside `sentence` in
    `caption_styles` it keeps a style from leaking into prompts that do not call it."""
    prior_prompts: tuple[_Line, ...] = Field(default=(), strict=False)
    """The prompts of these pictures. They must not hold the trigger."""
    prior_pictures: int = Field(default=16, ge=1, le=10_000)
    """How many of these pictures are made."""
    held_out_pairs: int = Field(default=8, ge=0, le=1000)
    """Pictures that are never trained on, at most a tenth of all. Their loss, at fixed noise and timesteps, is the
    validation loss."""
    base_bits: Literal["auto", 16, 8, 4] = "auto"
    """The precision of the base model's blocks; 16 is its own. `auto` takes what fits the machine's memory."""
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    """Compute each block a second time instead of keeping it. `auto` takes what fits the machine's memory."""
    background: str | None = None
    """The colour under transparent pixels: `"#rrggbb"` in quotes, or a name of CSS. Left out: a picture that is
    transparent anywhere is an error."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """The seed of everything random in the training."""
    min_pairs: int = Field(default=150, ge=1)
    """Fewer pictures than this are an error."""
    ignore: tuple[_Line, ...] = Field(default=(), strict=False)
    """Files of the folder that are not of the dataset, by name or by pattern, such as `*-masklabel.png`."""
    checkpoint_interval: int = Field(default=50, ge=1)
    """Iterations that are lost at most when a training is cut off. Changes nothing in the adapter."""
    kept_checkpoints: int = Field(default=3, ge=1, le=100)
    """Adapters that are kept to choose among, evenly spaced, the last one included."""
    sample_interval: int = Field(default=50, ge=1)
    """Iterations between samples; more than `iterations`: none are drawn. Changes nothing in the adapter."""
    sample_prompts: tuple[_Line, ...] = Field(default=(), max_length=16, strict=False)
    """What is drawn while it trains. Left out: the tier's first four verification prompts. Changes nothing in the
    adapter."""

    @property
    def scale(self) -> float:
        """What the trained matrices' product is multiplied with: alpha / rank."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    @property
    def shows_sentences(self) -> bool:
        """True where pictures are shown under captions that describe them."""
        return self.kind == "subject" or "sentence" in self.caption_styles

    @property
    def shows_both(self) -> bool:
        """True where each picture is shown under its own caption at times, and at times under the bare trigger."""
        return {"trigger", "sentence"} == {*self.caption_styles}

    @property
    def draws_samples(self) -> bool:
        """False where no interval between samples ends."""
        return self.sample_interval <= self.iterations

    def covers(self, module: str) -> bool:
        """True when a BFL module of that name is trained."""
        return any(fnmatchcase(module, pattern) for pattern in self.modules)

    def kept_iterations(self) -> tuple[int, ...]:
        """The iterations whose adapters are kept, at even distances, ending with the last one."""
        count = min(self.kept_checkpoints, self.iterations)
        return tuple(sorted({round(self.iterations * share / count) for share in range(1, count + 1)}))

    @field_validator("trigger")
    @classmethod
    def _check_trigger(cls, trigger: str | None) -> str | None:
        # captions are compared without the space around them, so such a trigger could never be met
        if trigger is not None and (not trigger or trigger != trigger.strip()):
            raise PydanticCustomError("trigger", "write a word without space around it")
        return trigger

    @field_validator("base_model")
    @classmethod
    def _check_base_model(cls, name: str | None) -> str | None:
        try:
            return name if name is None else (resolve_base_model(name) and name)
        except BaseModelError:
            raise PydanticCustomError("base_model", "use one of {known}", {"known": known_names()}) from None

    @model_validator(mode="after")
    def _check_caption_styles(self) -> Self:
        if not self.caption_styles or len(set(self.caption_styles)) < len(self.caption_styles):
            raise PydanticCustomError("caption_styles", "`caption_styles` are trigger, sentence, or both, each once")
        if self.kind == "subject" and self.caption_styles != ("trigger",):
            raise PydanticCustomError("caption_styles", "`caption_styles` are of `kind: style`: leave them out")
        return self

    @model_validator(mode="after")
    def _check_prior(self) -> Self:
        if self.prior_mix and not self.prior_prompts:
            raise PydanticCustomError("prior_mix", "`prior_mix` needs `prior_prompts`: name what the base model draws")
        if self.trigger is not None and any(self.trigger in prompt for prompt in self.prior_prompts):
            raise PydanticCustomError("prior_prompts", "`prior_prompts` must not hold the trigger")
        return self


# Recipe fields that decide whether a dataset is accepted, or how safely it is trained, not what is trained on it.
_NOT_TRAINED = {
    "name",
    "min_pairs",
    "ignore",
    "trigger",
    "trigger_required",
    "gate",
    "kind",
    "base_model",
    "trainer",
    "background",  # what is seen through it is of the dataset's own version
    "gradient_checkpointing",
    "checkpoint_interval",
    "sample_interval",
    "sample_prompts",
}

# The fields of version 0.1.0, which every fingerprint holds. A later one is not to be added: see `counted_fields`.
_FIRST_FIELDS = frozenset(
    """
    name kind trigger base_model trainer rank alpha modules iterations batch_size grad_accumulation learning_rate
    warmup_steps guidance resolution aspect_buckets num_augmentations crop_min flip caption_dropout prior_mix
    prior_prompts prior_pictures held_out_pairs base_bits gradient_checkpointing seed min_pairs checkpoint_interval
    kept_checkpoints sample_interval sample_prompts
    """.split()
)


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe's fields that a dataset's fingerprint holds, by name."""
    return counted_fields(recipe, _FIRST_FIELDS)


def trained_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe's fields that settle what an adapter becomes, by name."""
    return {key: value for key, value in recipe_values(recipe).items() if key not in _NOT_TRAINED}
