"""Every trainer sees a picture through the one door: its background, its colour profile, its orientation."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.common.errors import DatasetError
from sq_pipeline.engines.trainers.mflux_train.pictures import write_pictures
from sq_pipeline.engines.trainers.mlx.crops import plan_crops, plan_plain_crops
from sq_pipeline.engines.trainers.mlx_examples.dataset import write_dataset
from sq_pipeline.training.plan import Crops, crops_of
from sq_pipeline.training.ports import TrainingExample
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.cases.datasets import MAGENTA, cut_out, drawing, icc_profile, patches

Pixels = npt.NDArray[np.uint8]
SIZE = SizePx(192, 144)


def by_mlx(path: Path, crops: Crops, _folder: Path) -> Pixels:
    (random,) = plan_crops([path], crops, np.random.default_rng(0))
    (plain,) = plan_plain_crops([path], crops)
    return np.concatenate([*random.pixels(), *plain.pixels()])


def by_mflux_train(path: Path, crops: Crops, folder: Path) -> Pixels:
    write_pictures(folder, [TrainingExample(path, "trg")], crops, 0, ())
    return np.concatenate([np.asarray(Image.open(made)) for made in sorted(folder.glob("*.png"))])


def by_mlx_examples(path: Path, crops: Crops, folder: Path) -> Pixels:
    write_dataset([TrainingExample(path, "trg")], folder, crops)
    (line,) = (folder / "train.jsonl").read_text().splitlines()
    with Image.open(folder / json.loads(line)["image"]) as opened:
        return np.asarray(opened)[..., :3]  # it takes the numbers as they are in the file


TRAINERS = (by_mlx, by_mflux_train, by_mlx_examples)
See = Callable[[Path, Crops, Path], Pixels]


def crops_with(background: str | None) -> Crops:
    recipe = Recipe(background=background, num_augmentations=2, crop_min=1.0, resolution=(192, 144))
    return crops_of(recipe, SIZE)


@pytest.mark.parametrize("see", TRAINERS)
def test_nobody_sees_what_is_under_transparent_pixels(see: See, tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    cut_out(MAGENTA).save(path)
    seen = see(path, crops_with("#808080"), tmp_path / "out")
    assert (seen[:, :90] == 128).all()
    assert not (seen == MAGENTA).all(axis=-1).any()
    with pytest.raises(DatasetError, match="is transparent in 50 % of its pixels"):
        see(path, crops_with(None), tmp_path / "other")


@pytest.mark.parametrize("see", TRAINERS)
def test_a_key_colour_is_transparent_too(see: See, tmp_path: Path) -> None:
    path = tmp_path / "key.png"
    drawing(100).save(path, transparency=(90, 150, 255))
    assert (see(path, crops_with("#808080"), tmp_path / "out")[:30] == 128).all()


@pytest.mark.parametrize("see", TRAINERS)
def test_everybody_follows_a_colour_profile(see: See, tmp_path: Path) -> None:
    path = tmp_path / "p3.png"
    patches().save(path, icc_profile=icc_profile("display-p3"))
    seen = see(path, crops_with(None), tmp_path / "out").astype(int)
    assert np.abs(seen[:, 5:55] - (109, 163, 117)).max() <= 2
