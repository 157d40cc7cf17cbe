"""A data directory whose `sq.yaml` names the fake checkout, a hub cache with all files, and requests over it."""

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sq_pipeline.base_models.base_models import BASE_MODELS, SizePx
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.allowed_programs import allow
from sq_pipeline.engines.trainers.mlx_examples.checkout import open_checkout
from sq_pipeline.training.ports import CheckpointPlace, TrainingExample, TrainRequest
from sq_pipeline.training.recipe import Recipe

CHECKOUT = Path(__file__).parent / "mlx_examples_fake"
RECIPE = Recipe(trigger="west", base_model="flux1-dev", trainer="mlx-examples", rank=2, iterations=30)
CACHED = (
    "flux1-dev.safetensors",
    "ae.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.safetensors.index.json",
    "text_encoder_2/one.safetensors",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer_2/spiece.model",
)
SMALL = {"hidden_size": 8, "double_blocks": 1, "single_blocks": 1}


@dataclass
class Place:
    """`switches` are told to the fake script, see there."""

    data: DataDir
    hub: Path
    switches: dict[str, Any] = field(default_factory=dict[str, Any])

    def switch(self, **switches: Any) -> None:
        self.switches |= switches
        os.environ["FAKE"] = json.dumps(self.switches)

    @property
    def told(self) -> dict[str, Any]:
        """What the script was asked."""
        return json.loads((self.data.root / "told.json").read_text())

    def request(self, examples: tuple[TrainingExample, ...], **more: Any) -> TrainRequest:
        recipe = RECIPE.model_copy(update=more.pop("recipe", {}))
        place = CheckpointPlace(self.data.root / "checkpoints", "sha256:this")
        output = self.data.root / "out/final.safetensors"
        request = TrainRequest("flux1-dev", examples, recipe, output, place, ("a mill", "a mine"))
        return replace(request, **more)


def make_place(root: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """FLUX.1-dev is small for as long as the test lasts, and offline; the fake checkout is allowed."""
    small = replace(BASE_MODELS["flux1-dev"], **SMALL, training_size=SizePx(32, 32))
    monkeypatch.setattr("sq_pipeline.base_models.base_models.BASE_MODELS", {**BASE_MODELS, "flux1-dev": small})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root / "hub"))
    for name in ("HF_HUB_OFFLINE", "FLUX_DEV", "FLUX_SCHNELL", "AE"):
        monkeypatch.delenv(name, raising=False)
    repository = root / "hub/models--black-forest-labs--FLUX.1-dev"
    hub = repository / "snapshots" / ("0" * 40)
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("0" * 40)
    for name in CACHED:
        (hub / name).parent.mkdir(parents=True, exist_ok=True)
        (hub / name).write_text('{"weight_map": {"a": "one.safetensors"}}' if name.endswith("index.json") else "")
    data = DataDir(root / "data")
    data.root.mkdir(exist_ok=True)
    data.settings_file.write_text(f"mlx_examples: {{checkout: {CHECKOUT}}}\n")
    monkeypatch.setenv("FAKE", "{}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(root / "config"))
    allow(open_checkout(data).program())
    place = Place(data, hub)
    place.switch(told=str(data.root / "told.json"), pid=str(data.root / "pid"), **SMALL)
    return place


def draw_pictures(folder: Path, count: int, side: int = 48) -> tuple[TrainingExample, ...]:
    """Pictures of one colour each, (10 × index, 20, 30), with one caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = np.full((side, side, 3), (10 * index, 20, 30), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return tuple(TrainingExample(path, "west") for path in sorted(folder.glob("*.png")))
