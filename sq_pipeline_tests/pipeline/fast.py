"""A small game and engines that cost nothing, for tests of what is made when. The real ones are in `end_to_end`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.base_models.ports import TokenCounts
from sq_pipeline.common.errors import BaseModelError, Fault, TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.rendering import TracedRenderer
from sq_pipeline.pipeline.context import Engines
from sq_pipeline.training.ports import TrainRequest
from sq_pipeline.training.recipe import TrainerName
from sq_pipeline.verification.ports import FidelityMeter
from sq_pipeline_tests.fakes import FakeMeter, FakeRenderer, FakeTrainer, FakeValidationMeter

LAYOUT = [
    TensorInfo(f"{module}.{matrix}", "F32", shape)
    for module, inputs, outputs in modules_of(FLUX1_MODELS["tiny-flux"])
    for matrix, shape in (("lora_a", (inputs, 1)), ("lora_b", (1, outputs)))
]


class WholeTrainer(FakeTrainer):
    """Writes all of tiny-flux's modules, at rank 1."""

    def layout_for(self, request: TrainRequest) -> list[TensorInfo]:
        return LAYOUT


class WordCounter:
    """A token a word."""

    def count_tokens(self, text: str) -> TokenCounts:
        return TokenCounts("T5", len(text.split()), 96, len(text.split()), 77)


@dataclass
class FastEngines:
    """What `build_defs` and `bring_up_to_date` take as `make_engines`; one renderer and trainer for all calls."""

    renderer: FakeRenderer = field(default_factory=lambda: FakeRenderer(trigger="west"))
    trainer: WholeTrainer = field(default_factory=WholeTrainer)
    meter: FidelityMeter = field(default_factory=FakeMeter)
    trainer_versions: dict[str, dict[str, str]] = field(default_factory=lambda: {"mlx": {"fake": "1"}})
    renderer_versions: dict[str, str] = field(default_factory=lambda: {"fake": "1"})
    weights: dict[str, str] = field(default_factory=lambda: {"tiny-flux": "sha256:" + "0" * 64})

    def __call__(self, data: DataDir) -> Engines:
        return Engines(
            trainer=lambda _name: self.trainer,
            renderer=lambda: TracedRenderer(self.renderer),
            fidelity_meter=lambda: self.meter,
            validation_meter=FakeValidationMeter,
            loss_meter=FakeValidationMeter,
            trainer_versions=self._trainer_versions,
            renderer_versions=self.renderer_versions,
            mflux_version="0.24.0",
            chip="no chip",
            token_counter=lambda name: WordCounter(),
            weights_hash=self._weights_hash,
        )

    def _trainer_versions(self, name: TrainerName) -> Mapping[str, str]:
        if name not in self.trainer_versions:
            raise TrainingError(Fault("sq.yaml", "trainer", f"there is no {name}", "get it"))
        return self.trainer_versions[name]

    def _weights_hash(self, name: str) -> str:
        if name not in self.weights:
            raise BaseModelError(Fault(f"models/{name}", "", f"{name} is not on this machine", "get it"))
        return self.weights[name]


def write_yaml(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(value, allow_unicode=True, sort_keys=False))


def lora(name: str, file: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "file": f"{file}.safetensors", "scale": 1.0, "applies_to": ["landscape"], **more}


def write_dataset(folder: Path, trigger: str, seed: int, count: int = 3) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(seed)
    for index in range(count):
        pixels = numbers.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"{trigger}\n")
    write_yaml(folder / "lora.yaml", {"trigger": trigger, "min_pairs": 3, "iterations": 3, "rank": 1, "seed": seed})


def chapter(*pois: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": "One", "points_of_interest": list(pois)}


def poi(name: str, prompt: str | None = None) -> dict[str, Any]:
    return {"name": name, "visual_prompt": prompt or f"a view of {name}"}


def write_game(data: DataDir) -> None:
    """Genre `west` with worlds `old` (inherits the genre's adapter) and `paper` (excludes it, adds its own)."""
    write_yaml(data.settings_file, {"promotion": "automatic", "thresholds": {"ssim_trigger_max": 1.0}})
    genre = data.genre_root("west")
    loras = [lora("west_land", "west/landscape", trigger="west")]
    write_yaml(genre / "visual_style.yaml", {"positive_suffix": "wide", "base_seed": 1, "loras": loras})
    write_yaml(
        genre / "worlds/old/history.yaml", {"chapters": [chapter(poi("Mill"), poi("Mine")), chapter(poi("Inn"))]}
    )
    write_yaml(genre / "worlds/paper/history.yaml", {"chapters": [chapter(poi("Gate"), poi("Dock"))]})
    add = [lora("paper_land", "west/paper/landscape", trigger="west_paper")]
    write_yaml(genre / "worlds/paper/visual_style.yaml", {"loras": {"exclude": ["west_land"], "add": add}})
    write_dataset(data.datasets_root / "west/landscape", "west", 1)
    write_dataset(data.datasets_root / "west/worlds/paper/landscape", "west_paper", 2)
