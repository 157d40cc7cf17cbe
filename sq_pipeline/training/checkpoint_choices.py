"""`content/lora/<genre>/<genre>.choices.yaml`: which kept checkpoint a person wants of a training, in their name.

Not here: whether a choice still applies (`pipeline.adapters.checkpoints.kept_checkpoints`).
"""

from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.common.archive import archive_edited
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import dump_yaml, load_mapping, validate

_HEAD = "# Written by `sq-pipeline adapter choose`: checkpoints that people chose in place of the proposed ones.\n"


class CheckpointChoice(BaseModel):
    """The checkpoint after `iteration` of the training whose adapter has the data version `training`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iteration: int = Field(ge=1)
    """The kept checkpoint that is used."""
    by: str = Field(pattern=r"\S")
    """Who chose it."""
    training: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    """The data version of the training that it belongs to. After another training the choice no longer applies."""


class _ChoicesFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    choices: dict[str, CheckpointChoice] = {}
    """By adapter."""


def read_choices(data: DataDir, genre: str) -> dict[str, CheckpointChoice]:
    """The choices by adapter; empty where none was made. Raises ContentError."""
    path = data.checkpoint_choices(genre)
    if not path.is_file():
        return {}
    file = data.relative(path)
    return validate(_ChoicesFile, load_mapping(path, file), file).choices


def write_choices(data: DataDir, genre: str, choices: dict[str, CheckpointChoice]) -> None:
    """Write the choices atomically; equal ones give equal bytes. Without any there is no file.

    A file that holds more than the choices, as comments, is kept in the archive first.
    """
    path = data.checkpoint_choices(genre)
    archive_edited(path, _text(read_choices(data, genre)))
    if not choices:
        path.unlink(missing_ok=True)
        return
    write_text(path, _text(choices))


def _text(choices: dict[str, CheckpointChoice]) -> str:
    return _HEAD + dump_yaml(_ChoicesFile(choices=choices).model_dump())
