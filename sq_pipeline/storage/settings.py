"""`sq.yaml`: a data directory's settings. Every default is here."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.core.verdicts import Thresholds
from sq_pipeline.storage.layout import DataDir
from sq_pipeline.storage.strict_yaml import load_mapping, validate


class NightWindow(BaseModel):
    """Local hours between which training may start by itself, `HH:MM`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str = Field(default="22:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    end: str = Field(default="06:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")


class Settings(BaseModel):
    """`promotion: automatic` promotes what passed without asking a person. `base_model` overrides every pack's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    promotion: Literal["manual", "automatic"] = "manual"
    base_model: str | None = None
    trainer: Literal["mlx"] = "mlx"
    night_window: NightWindow = NightWindow()
    thresholds: Thresholds = Thresholds()


def load_settings(data: DataDir) -> Settings:
    """The settings of a data directory; defaults where there is no `sq.yaml`. Raises ContentError."""
    if not data.settings_file.is_file():
        return Settings()
    file = data.relative(data.settings_file)
    return validate(Settings, load_mapping(data.settings_file, file), file)
