"""The training recipe: one place for every default of a LoRA training. Read from a dataset's `lora.yaml`."""

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sq_pipeline.base_models.base_models import known_names, resolve_base_model
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.fingerprints import counted_fields

TrainerName = Literal["mlx", "mlx-examples", "mflux-train"]


_Side = Annotated[int, Field(ge=16, le=4096, multiple_of=16)]


_Line = Annotated[str, Field(min_length=1, max_length=2000)]


class Recipe(BaseModel):
    """How to train one LoRA. Defaults are mlx-examples' FLUX.1 ones; what it does not have is off.

    `name` is for people. `trainer` None: the one of `sq.yaml`. The update is scaled by `alpha` / `rank`; `alpha` None
    means `rank`. `modules` are patterns over BFL module names (`single_blocks.*`, `*.img_attn.qkv`), for other
    families over mflux's; one that matches nothing of the base model is a fault of the training.

    `learning_rate` warms up linearly over `warmup_steps` and decays on a cosine to zero at `iterations`; both count
    optimizer steps, one in `grad_accumulation` iterations.

    `resolution` (width, height in pixels) None: the base model's training size. With `aspect_buckets` each picture
    goes to the one of several sizes of about that area whose sides fit it best, instead of being cut to one size.
    Each picture is seen as `num_augmentations` random cuts of `crop_min` to 1 of its sides, and mirrored as often as
    not with `flip`. `caption_dropout` is the share of draws with an empty caption, `prior_mix` that of draws which show
    one of `prior_pictures` pictures that the base model itself makes of `prior_prompts` (without the trigger): what
    keeps a style from leaking into prompts that do not call it.

    `held_out_pairs` pictures, at most a tenth, are never trained on: their loss at fixed noise and times can be
    compared. `kept_checkpoints` adapters of the training are kept, the last one included, to choose among.

    `base_bits` and `gradient_checkpointing`: `auto` takes what fits the machine's memory.

    `checkpoint_interval` iterations are lost at most when a training is cut off. It, `sample_interval` and
    `sample_prompts` (none: the tier's verification prompts) change nothing in the adapter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # strict: `true` is no number

    name: str | None = None
    kind: Literal["style", "subject"] = "style"
    trigger: str | None = None
    base_model: str | None = None
    trainer: TrainerName | None = None
    rank: int = Field(default=8, ge=1, le=256)
    alpha: float | None = Field(default=None, gt=0, le=4096)
    modules: tuple[_Line, ...] = Field(default=("*",), min_length=1, strict=False)
    iterations: int = Field(default=600, ge=1, le=1_000_000)
    batch_size: int = Field(default=1, ge=1, le=256)
    grad_accumulation: int = Field(default=4, ge=1, le=256)
    learning_rate: float = Field(default=1e-4, gt=0, lt=1)
    warmup_steps: int = Field(default=100, ge=0)
    guidance: float = Field(default=4.0, ge=0)
    resolution: tuple[_Side, _Side] | None = Field(default=None, strict=False)
    aspect_buckets: bool = False
    num_augmentations: int = Field(default=5, ge=1, le=100)
    crop_min: float = Field(default=0.8, gt=0, le=1)
    flip: bool = False
    caption_dropout: float = Field(default=0.0, ge=0, lt=1)
    prior_mix: float = Field(default=0.0, ge=0, lt=1)
    prior_prompts: tuple[_Line, ...] = Field(default=(), strict=False)
    prior_pictures: int = Field(default=16, ge=1, le=10_000)
    held_out_pairs: int = Field(default=8, ge=0, le=1000)
    base_bits: Literal["auto", 16, 8, 4] = "auto"
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    seed: int = Field(default=0, ge=0, lt=2**32)
    min_pairs: int = Field(default=150, ge=1)
    checkpoint_interval: int = Field(default=50, ge=1)
    kept_checkpoints: int = Field(default=3, ge=1, le=100)
    sample_interval: int = Field(default=50, ge=1)
    sample_prompts: tuple[_Line, ...] = Field(default=(), max_length=16, strict=False)

    @property
    def scale(self) -> float:
        """What the trained matrices' product is multiplied with: alpha / rank."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

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
    "trigger",
    "kind",
    "base_model",
    "trainer",
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
