"""A small real dataset, and the real engines over the shipped tiny-flux."""

import random
from pathlib import Path

import numpy as np
import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.painter.scenes import paint, random_scene
from sq_pipeline.painter.styles import STYLES
from sq_pipeline.pictures.ports import Renderer
from sq_pipeline.training.ports import TrainingExample
from sq_pipeline.training.recipe import Recipe

TRIGGER = "test_print"
RECIPE = Recipe(
    trigger=TRIGGER, rank=4, iterations=6, batch_size=4, grad_accumulation=1, learning_rate=0.002, warmup_steps=2
)


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingExample, ...]:
    """Twelve printed scenes that share one caption."""
    folder, rng, numbers = tmp_path_factory.mktemp("pictures"), random.Random(8), np.random.default_rng(8)
    found: list[TrainingExample] = []
    for index in range(12):
        path: Path = folder / f"{index:02d}.png"
        STYLES["old_print"](paint(random_scene(rng)), numbers).save(path)
        found.append(TrainingExample(path, TRIGGER))
    return tuple(found)


@pytest.fixture(scope="session")
def renderer(shipped: DataDir) -> Renderer:
    """One renderer for all tests: the model is loaded once."""
    return factory.renderer(shipped)
