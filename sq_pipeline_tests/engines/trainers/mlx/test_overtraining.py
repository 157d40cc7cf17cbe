"""An adapter that was made to take over the composition, and a healthy one.

The first learns one scene only, ten times too hard; real training and rendering. The measure itself: `training`.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sq_pipeline.adapters.keymap_files import select_keymap, select_reading_keymap
from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.trainers.mlx.trainer import MlxLoraTrainer
from sq_pipeline.painter.scenes import Scene, paint, random_scene
from sq_pipeline.painter.styles import STYLES
from sq_pipeline.pictures.ports import Renderer
from sq_pipeline.pipeline.adapters.checkpoints.checkpoint_scoring import ScoringRequest, score_checkpoints
from sq_pipeline.pipeline.reference_pictures import as_reference
from sq_pipeline.training.checkpoint_scores import CheckpointScore, ScoreLimits, overtrained, propose
from sq_pipeline.training.ports import TrainingExample, TrainRequest
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification.gate_files import load_shipped
from sq_pipeline.verification.prompts import load_verify_prompts
from sq_pipeline_tests.fakes import FakeValidationMeter

pytestmark = [pytest.mark.long, pytest.mark.takes(s=35)]

TRIGGER = "sepia_western"


def draw(folder: Path, scenes: Iterator[Scene], count: int) -> tuple[TrainingExample, ...]:
    folder.mkdir()
    numbers, found = np.random.default_rng(8), list[TrainingExample]()
    for index in range(count):
        path = folder / f"{index:02d}.png"
        STYLES[TRIGGER](paint(next(scenes)), numbers).save(path)
        found.append(TrainingExample(path, TRIGGER))
    return tuple(found)


def train(data: DataDir, examples: tuple[TrainingExample, ...], output: Path, **recipe: float) -> Path:
    whole = Recipe.model_validate(
        {"trigger": TRIGGER, "batch_size": 4, "grad_accumulation": 1, "warmup_steps": 10, "seed": 101, **recipe}
    )
    MlxLoraTrainer(data).train(TrainRequest("tiny-flux", examples, whole, output), lambda _: None)
    return output


def shipped_limits() -> ScoreLimits:
    calibration = load_shipped("tiny-flux")
    assert calibration is not None
    found = {name: limit.limit for name, limit in calibration.tiers["landscape"].items()}
    return ScoreLimits(
        change_min=0.001,
        subject_kept_min=found["subject_kept"],
        style_share_min=found["style_share"],
        style_direction_min=found["style_direction"],
        style_distance_max=found["style_distance"],
        trigger_effect_min=found["trigger_effect"],
    )


def scores_of(
    data: DataDir, renderer: Renderer, checkpoints: dict[int, Path], examples: tuple[TrainingExample, ...]
) -> list[CheckpointScore]:
    paths, captions = [example.image_path for example in examples], [example.caption for example in examples]
    request = ScoringRequest(
        checkpoints=checkpoints,
        prompts=load_verify_prompts(data, "landscape"),
        trigger=TRIGGER,
        base_model=BASE_MODELS["tiny-flux"],
        keymap=select_keymap(data.keymaps_root, "mflux", "0.24.0"),
        reading=select_reading_keymap(data.keymaps_root, "mlx"),
        examples=(),
        recipe=Recipe(),
        tier="landscape",
        reference=as_reference("pictures", paths, captions, Recipe(), BASE_MODELS["tiny-flux"]),
    )
    return [each.score for each in score_checkpoints(request, renderer, FakeValidationMeter()).checkpoints]


@pytest.fixture(scope="module")
def hard(shipped: DataDir, renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> list[CheckpointScore]:
    """One composition under one word: a little of it (20), and far too much (120)."""
    folder, rng = tmp_path_factory.mktemp("hard"), random.Random(8)
    scenes = iter(lambda: Scene("dusk", "desert", "mesa", "centre", rng.getrandbits(40)), None)
    examples = draw(folder / "pictures", scenes, 24)
    little = train(shipped, examples, folder / "20.safetensors", iterations=20, learning_rate=4e-4)
    much = train(shipped, examples, folder / "120.safetensors", iterations=120, learning_rate=4e-3, batch_size=2)
    return scores_of(shipped, renderer, {20: little, 120: much}, examples)


def test_one_that_takes_over_the_composition_is_recognised(hard: list[CheckpointScore]) -> None:
    limits = shipped_limits()
    taken = overtrained(hard, limits)
    assert list(taken) == [120]
    assert taken[120] < limits.subject_kept_min - 0.1


def test_the_one_before_is_proposed_though_the_other_changes_more(hard: list[CheckpointScore]) -> None:
    """No picture is held out here: without the measure the strongest change would win."""
    proposal = propose(hard, None, shipped_limits())
    assert proposal.iteration == 20
    assert "iteration 120 is overtrained: it takes over the composition" in proposal.reason
    assert max(hard, key=lambda score: score.change).iteration == 120


def test_a_healthy_one_is_not_flagged(shipped: DataDir, renderer: Renderer, tmp_path: Path) -> None:
    """Many scenes under one word, in the demo's way: the style shows, and the subjects stay apart."""
    rng, limits = random.Random(8), shipped_limits()
    examples = draw(tmp_path / "pictures", iter(lambda: random_scene(rng), None), 60)
    adapter = train(shipped, examples, tmp_path / "40.safetensors", iterations=40, learning_rate=1e-3)
    (score,) = scores_of(shipped, renderer, {40: adapter}, examples)
    assert overtrained([score], limits) == {}
    assert score.subject_kept is not None
    assert score.style_share is not None
    assert score.subject_kept > limits.subject_kept_min + 0.1
    assert score.style_share > limits.style_share_min
