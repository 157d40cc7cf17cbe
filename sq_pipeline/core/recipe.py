"""The training recipe: one place for every default of a LoRA training. Read from a dataset's `lora.yaml`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from sq_pipeline.core.base_models import BASE_MODELS, resolve_base_model
from sq_pipeline.core.errors import BaseModelError


class Recipe(BaseModel):
    """How to train one LoRA. Defaults are mlx-examples' FLUX.1 ones.

    `learning_rate` warms up linearly over `warmup_steps` and decays on a cosine to zero at `iterations`.
    `training_size` in the base model's registry gives the picture size. `checkpoint_interval` iterations are lost at
    most when a training is cut off; it changes nothing in the adapter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # strict: `true` is no number

    kind: Literal["style", "subject"] = "style"
    trigger: str | None = None
    base_model: str | None = None
    rank: int = Field(default=8, ge=1, le=256)
    iterations: int = Field(default=600, ge=1, le=1_000_000)
    batch_size: int = Field(default=1, ge=1, le=256)
    grad_accumulation: int = Field(default=4, ge=1, le=256)
    learning_rate: float = Field(default=1e-4, gt=0, lt=1)
    warmup_steps: int = Field(default=100, ge=0)
    guidance: float = Field(default=4.0, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**32)
    min_pairs: int = Field(default=150, ge=1)
    checkpoint_interval: int = Field(default=50, ge=1)

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
            known = ", ".join(sorted(BASE_MODELS))
            raise PydanticCustomError("base_model", "use one of {known}", {"known": known}) from None
