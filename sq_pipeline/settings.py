"""`sq.yaml`: a data directory's settings. Every default is here."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.common.errors import BaseModelError, ContentError, Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import load_mapping, validate
from sq_pipeline.common.tiers import Tier
from sq_pipeline.pictures.limits import AREA_MAX_PX, SIDE_MAX_PX, STEPS_MAX
from sq_pipeline.training.recipe import TrainerName
from sq_pipeline.verification.thresholds import Thresholds


class NightWindow(BaseModel):
    """Local hours between which training may start by itself, `HH:MM`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str = Field(default="22:00", pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")
    end: str = Field(default="06:00", pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")


class MlxExamples(BaseModel):
    """The user's own checkout of mlx-examples, and the Python that runs it (None: the one that runs this).

    Paths as a person writes them: absolute, from the home folder (`~/…`), or from the data directory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkout: str = Field(min_length=1)
    python: str | None = Field(default=None, min_length=1)


Side = Annotated[int, Field(ge=64, le=SIDE_MAX_PX, multiple_of=16, strict=True)]


class TierSettings(BaseModel):
    """What the pictures of one tier are rendered with, where it is not what the base model has for it.

    `size_px`: width and height, multiples of 16.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_px: tuple[Side, Side] | None = None
    num_inference_steps: int | None = Field(default=None, ge=1, le=STEPS_MAX, strict=True)
    guidance: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)

    @field_validator("size_px")
    @classmethod
    def _is_not_too_large(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and value[0] * value[1] > AREA_MAX_PX:
            raise ValueError(f"width × height must be at most {AREA_MAX_PX}")
        return value


class Settings(BaseModel):
    """`promotion: automatic` promotes what passed without asking a person. `base_model` overrides every pack's.

    `trainer` trains where a recipe names none.
    `missing_adapter`: what becomes of a tier that none of a world's adapters applies to, though its genre has some:
    an `error`, or pictures with `none`. `tiers`: what a tier is rendered with, where it is not the base model's own.
    `ready_stacks_mib`: how much memory a renderer gives to stacks of adapters that it used last, so that they go on
    again without a file being read; without it a sixteenth of the machine's, and with 0 only the one in use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    promotion: Literal["manual", "automatic"] = "manual"
    base_model: str | None = None
    trainer: TrainerName = "mlx"
    mlx_examples: MlxExamples | None = None
    night_window: NightWindow = NightWindow()
    thresholds: Thresholds = Thresholds()
    missing_adapter: Literal["error", "none"] = "error"
    tiers: dict[Tier, TierSettings] = Field(default_factory=dict[Tier, TierSettings])
    ready_stacks_mib: int | None = Field(default=None, ge=0, strict=True)


def load_settings(data: DataDir) -> Settings:
    """The settings of a data directory; defaults where there is no `sq.yaml`. Raises ContentError."""
    if not os.path.lexists(data.settings_file):
        return Settings()
    file = data.relative(data.settings_file)
    settings = validate(Settings, load_mapping(data.settings_file, file), file)
    if settings.base_model is not None:
        try:
            resolve_base_model(settings.base_model)
        except BaseModelError as error:
            raise ContentError(Fault(file, "base_model", f.problem, f.mend) for f in error.faults) from None
    return settings


def written_path(data: DataDir, text: str, field: str) -> Path:
    """A path of `sq.yaml` as it is meant: absolute, from `~`, or from the data directory. Raises ContentError."""
    try:
        return data.root / Path(text).expanduser()
    except RuntimeError:
        file = data.relative(data.settings_file)
        raise ContentError(Fault(file, field, f"no home folder is known for {text!r}", "write the path out")) from None
