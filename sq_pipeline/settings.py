"""`sq.yaml`: a data directory's settings. Every default is here."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.base_models.picture_limits import AREA_MAX_PX, SIDE_MAX_PX, SIDE_MIN_PX, SIDE_STEP_PX, STEPS_MAX
from sq_pipeline.common.errors import BaseModelError, ContentError, Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.picture_paths import DEFAULT_TEMPLATE, PicturePaths, why_wrong
from sq_pipeline.common.strict_yaml import load_mapping, validate, wrong
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.prompt_checks import CheckName
from sq_pipeline.training.recipe import TrainerName
from sq_pipeline.verification.thresholds import Thresholds


class NightWindow(BaseModel):
    """Local hours between which training may start by itself, `HH:MM`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str = Field(default="22:00", pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")
    """`HH:MM`, local time, from which the sensor `night` may start a training."""
    end: str = Field(default="06:00", pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")
    """`HH:MM`, local time. What could not finish before it is not started."""


class MlxExamples(BaseModel):
    """The user's own checkout of mlx-examples, and the Python that runs it. Paths are as a person writes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkout: str = Field(min_length=1)
    """The folder of your mlx-examples: absolute, from `~`, or from the data directory."""
    python: str | None = Field(default=None, min_length=1)
    """The Python that runs it. Left out: the one that runs sq-pipeline."""


Side = Annotated[int, Field(ge=SIDE_MIN_PX, le=SIDE_MAX_PX, multiple_of=SIDE_STEP_PX, strict=True)]


class TierSettings(BaseModel):
    """What the pictures of one tier are rendered with, where it is not what the base model has for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_px: tuple[Side, Side] | None = None
    """`[width, height]` in pixels, at most 4194304 in all. Left out: the base model's own for the tier."""
    num_inference_steps: int | None = Field(default=None, ge=1, le=STEPS_MAX, strict=True)
    """Left out: the base model's own."""
    guidance: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    """Left out: the base model's own."""

    @field_validator("size_px")
    @classmethod
    def _is_not_too_large(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and value[0] * value[1] > AREA_MAX_PX:
            raise ValueError(f"width × height must be at most {AREA_MAX_PX}")
        return value


class Settings(BaseModel):
    """Everything that a data directory may set; the text under a field is its line in the documentation's table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    promotion: Literal["manual", "automatic"] = "manual"
    """`automatic` promotes what passed its verification without asking a person; the manifest then says so."""
    base_model: str | None = None
    """Overrides `preferred_model` of every pack. Left out: each pack's, or `tiny-flux`."""
    trainer: TrainerName = "mlx"
    """Who trains where a recipe names no trainer."""
    mlx_examples: MlxExamples | None = None
    """Your checkout of mlx-examples, for `trainer: mlx-examples`."""
    night_window: NightWindow = NightWindow()
    """The hours in which trainings may start by themselves."""
    thresholds: Thresholds = Thresholds()
    """The limits of a verification."""
    missing_adapter: Literal["error", "none"] = "error"
    """What becomes of a tier that none of a world's adapters applies to, in a genre that has adapters: an error, or
    with `none` pictures without an adapter."""
    dropped_style: Literal["error", "warn"] = "error"
    """What becomes of a prompt that leaves no room for the beginning of its style and what is said for safety: an
    error, or with `warn` a picture without, and a warning."""
    ignore_keys: tuple[str, ...] = ()
    """Keys and files of packs that are yours and not for pictures: no warning is given of them."""
    ignore_prompt_checks: tuple[CheckName, ...] = ()
    """Checks of prompts that are not made: see `sq-pipeline prompts --check`."""
    picture_path: str = DEFAULT_TEMPLATE
    """Where the game finds its pictures, below a genre's folder. `{world}`, `{kind}` and `{slug}` are filled in: with
    `worlds/{world}/assets/{kind}/{slug}.png` worlds do not share their pictures' names."""
    tiers: dict[Tier, TierSettings] = Field(default_factory=dict[Tier, TierSettings])
    """What a tier is rendered with, where it is not the base model's own."""
    ready_stacks_mib: int | None = Field(default=None, ge=0, strict=True)
    """Memory for the stacks of adapters that were used last, so that they go on again without a file being read. Left
    out: a sixteenth of the machine's. 0: only the one in use."""

    server_silence_s: float = Field(default=120, ge=1, le=3600, allow_inf_nan=False)
    """How long the render server may say nothing with a picture in hand, seconds, before a run renders it itself. One
    that lives says so all the time, however slow it is."""

    @field_validator("picture_path")
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        if found := why_wrong(value):
            raise wrong(*found)
        return value

    @property
    def picture_paths(self) -> PicturePaths:
        """Where pictures are published."""
        return PicturePaths(self.picture_path)


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
            raise ContentError(Fault(file, "base_model", f.problem, f.hint) for f in error.faults) from None
    return settings


def written_path(data: DataDir, text: str, field: str) -> Path:
    """A path of `sq.yaml` as it is meant: absolute, from `~`, or from the data directory. Raises ContentError."""
    try:
        return data.root / Path(text).expanduser()
    except RuntimeError:
        file = data.relative(data.settings_file)
        raise ContentError(Fault(file, field, f"no home folder is known for {text!r}", "write the path out")) from None
