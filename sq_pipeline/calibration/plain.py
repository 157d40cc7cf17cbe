"""Plain pictures with a sentence each, which the bench's styles repaint: drawn for tiny-flux, else from a folder."""

import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.errors import DatasetError, Fault
from sq_pipeline.painter.scenes import paint, random_scene
from sq_pipeline.training.dataset import read_captions
from sq_pipeline.training.dataset_files import list_as_told, stem_of
from sq_pipeline.training.pictures.fitted import read_fitted

PICTURES = 96
LEAST_PICTURES = 40
_SEED = 4021


@dataclass(frozen=True)
class PlainPicture:
    """RGB, and what it shows."""

    picture: Image.Image
    sentence: str


def plain_pictures(base_model: BaseModel, folder: Path | None) -> tuple[PlainPicture, ...]:
    """The folder's pictures at the base model's training size; without one, drawn scenes, which only tiny-flux knows.

    Raises DatasetError for a folder with too few captioned pictures, or where one is needed.
    """
    if folder is not None:
        return _read(base_model, folder)
    if base_model.name != "tiny-flux":
        problem = f"has no drawn pictures: they are tiny-flux's, and {base_model.name} needs pictures of its own kind"
        hint = f"name a folder of {LEAST_PICTURES} plain pictures or more, each with a sentence in a .txt of its name"
        raise DatasetError(Fault("the bench", "pictures", problem, hint))
    rng = random.Random(_SEED)
    scenes = [random_scene(rng) for _ in range(PICTURES)]
    return tuple(PlainPicture(paint(scene), scene.caption()) for scene in scenes)


def _read(base_model: BaseModel, folder: Path) -> tuple[PlainPicture, ...]:
    name = folder.name or str(folder)
    sentences = {Path(file).stem: text for file, text in read_captions(folder, name)}
    paths = [path for path in list_as_told(folder, name).images if sentences.get(stem_of(path))][:PICTURES]
    if len(paths) < LEAST_PICTURES:
        problem = f"holds {len(paths)} pictures with a sentence beside them, at least {LEAST_PICTURES} are needed"
        raise DatasetError(Fault(str(folder), "", problem, "write what each picture shows into a .txt of its name"))
    size = base_model.training_size
    return tuple(
        PlainPicture(Image.fromarray(read_fitted(path, size, None)), sentences[stem_of(path)]) for path in paths
    )
