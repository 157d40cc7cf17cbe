"""Which trainer an adapter is trained by, and what a change of it makes stale. Not here: the trainers (`engines`)."""

from pathlib import Path

import pytest
import yaml

from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.facts import trainer_of
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline_tests.pipeline.fast import FastEngines, lora, write_dataset, write_yaml

_FOLDER = "west/landscape"


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = DataDir(tmp_path)
    write_yaml(data.genre_root("west") / "visual_style.yaml", {"loras": [lora("west_land", _FOLDER)]})
    write_dataset(data.datasets_root / _FOLDER, "west", 0)
    return data


def choose(data: DataDir, *, settings: str | None, recipe: str | None) -> None:
    if settings is not None:
        write_yaml(data.settings_file, {"trainer": settings})
    if recipe is not None:
        path = data.datasets_root / _FOLDER / "lora.yaml"
        write_yaml(path, {**yaml.safe_load(path.read_text()), "trainer": recipe})


def training(data: DataDir, engines: FastEngines) -> Step:
    """The training as it stands, with its dataset made."""
    context = Context(data, engines(data))
    make_adapter_asset(context, context.adapter("west_land"), "training_dataset")
    return adapter_steps_of(context, context.adapter("west_land"))["mlx_adapter"]


@pytest.mark.parametrize(
    ("settings", "recipe", "expected"),
    [
        (None, None, "mlx"),
        ("mlx-examples", None, "mlx-examples"),
        (None, "mflux-train", "mflux-train"),
        ("mlx-examples", "mlx", "mlx"),
    ],
)
def test_the_recipes_trainer_wins(data: DataDir, settings: str | None, recipe: str | None, expected: str) -> None:
    choose(data, settings=settings, recipe=recipe)
    context = Context(data, FastEngines()(data))
    assert trainer_of(context, context.adapter("west_land")) == expected


def test_a_trainers_versions_enter_the_fingerprint(data: DataDir) -> None:
    theirs = {"name": "mlx-examples", "sources": "sha256:1"}
    engines = FastEngines(trainer_versions={"mlx": {"mlx": "1"}, "mlx-examples": theirs})
    plain = training(data, engines).inputs
    assert {key: value for key, value in plain.items() if key.startswith("trainer.")} == {"trainer.mlx": "1"}
    choose(data, settings="mlx-examples", recipe=None)
    told = training(data, engines)
    assert {key: value for key, value in told.inputs.items() if key.startswith("trainer.")} == {
        "trainer.name": "mlx-examples",
        "trainer.sources": "sha256:1",
    }
    theirs["sources"] = "sha256:2"
    edited = training(data, engines)
    assert edited.fingerprint != told.fingerprint
    choose(data, settings=None, recipe="mlx")
    assert training(data, engines).fingerprint != edited.fingerprint


def test_a_trainer_that_is_not_there_blocks_the_training_and_says_why(data: DataDir) -> None:
    choose(data, settings="mlx-examples", recipe=None)
    step = training(data, FastEngines())
    assert (step.status, step.reasons) == ("blocked", ("sq.yaml: trainer: there is no mlx-examples; get it",))
