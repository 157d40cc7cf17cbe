"""The measure of separation on drawn pictures, the rule that proposes a checkpoint, and scoring with fake engines."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sq_pipeline.adapters.keymap_files import select_keymap, select_reading_keymap
from sq_pipeline.adapters.safetensors_file import write_safetensors
from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.painter.scenes import Scene, paint
from sq_pipeline.painter.styles import STYLES
from sq_pipeline.pipeline.adapters.checkpoint_report import draw_grid, write_table
from sq_pipeline.pipeline.adapters.checkpoint_scoring import ScoringRequest, score_checkpoints
from sq_pipeline.pipeline.adapters.kept_checkpoints import ScoredPrompts
from sq_pipeline.training.checkpoint_scores import (
    CheckpointScore,
    ScoreLimits,
    mean_distance,
    measure_separation,
    overtrained,
    propose,
)
from sq_pipeline.training.ports import TrainingExample
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.builders import write_pair
from sq_pipeline_tests.fakes import FakeRenderer, FakeValidationMeter
from sq_pipeline_tests.pipeline.fast import LAYOUT

Pixels = npt.NDArray[np.uint8]
LIMITS = ScoreLimits(change_min=0.001, trigger_change_min=0.03)

SCENES = [
    Scene("noon", "meadow", "windmill", "left", 1),
    Scene("dusk", "desert", "church", "centre", 2),
    Scene("dawn", "lake", "ship", "right", 3),
    Scene("night", "snow", "tower", "centre", 4),
]
PLAIN = [np.asarray(paint(scene)) for scene in SCENES]


def styled(name: str) -> list[Pixels]:
    numbers = np.random.default_rng(5)
    return [np.asarray(STYLES[name](Image.fromarray(pixels), numbers)) for pixels in PLAIN]


def one_scene() -> list[Pixels]:
    """Other seeds of one and the same composition."""
    return [np.asarray(paint(Scene("dusk", "desert", "mesa", "centre", seed))) for seed in range(4)]


# --- the measure


def test_equal_pictures_are_no_distance_apart() -> None:
    assert mean_distance([PLAIN[0]] * 3) == pytest.approx(0, abs=1e-9)
    blank = np.full((96, 128, 3), 90, dtype=np.uint8)
    assert mean_distance([blank, blank + 40]) == 0
    assert mean_distance([blank, PLAIN[0]]) == 1


@pytest.mark.parametrize(
    ("recoloured", "least"),
    [
        ([np.repeat(p.mean(-1, keepdims=True), 3, -1).astype(np.uint8) for p in PLAIN], 0.9),  # without colour
        ([(p * 0.4 + 20).astype(np.uint8) for p in PLAIN], 0.97),  # without contrast
        ([255 - p for p in PLAIN], 0.99),  # as a negative
        (styled("sepia_western"), 0.7),  # with bars
        (styled("old_print"), 0.7),
        (styled("neon"), 0.8),  # with scan lines
    ],
    ids=["grey", "pale", "negative", "sepia_western", "old_print", "neon"],
)
def test_a_style_leaves_compositions_apart(recoloured: list[Pixels], least: float) -> None:
    separation = measure_separation(recoloured, PLAIN)
    assert separation is not None
    assert least < separation < 1.15


def test_one_composition_for_all_prompts_is_close_together() -> None:
    separation = measure_separation(one_scene(), PLAIN)
    assert separation is not None
    assert separation < 0.5


def test_the_size_of_the_pictures_decides_little() -> None:
    def large(pictures: Sequence[Pixels]) -> list[Pixels]:
        return [p.repeat(5, axis=0).repeat(5, axis=1) for p in pictures]

    assert measure_separation(large(one_scene()), large(PLAIN)) == pytest.approx(
        measure_separation(one_scene(), PLAIN), abs=0.05
    )


@pytest.mark.parametrize("pictures", [[], PLAIN[:1], [PLAIN[0], PLAIN[0]]], ids=["none", "one", "alike"])
def test_without_two_different_pictures_there_is_no_measure(pictures: list[Pixels]) -> None:
    assert measure_separation(pictures, pictures) is None


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 2**32 - 1))
def test_the_order_does_not_count_and_noise_is_far_apart(order: list[int], seed: int) -> None:
    noise = list(np.random.default_rng(seed).integers(0, 255, (4, 48, 64, 3), dtype=np.uint8))
    distance = mean_distance(noise)
    assert 0 < distance <= 2
    assert mean_distance([noise[index] for index in order]) == pytest.approx(distance)


# --- the rule


def score(
    iteration: int, scale: float, loss: float | None, apart: float | None = 0.9, **more: float
) -> CheckpointScore:
    values = {"change": 0.5, "trigger_change": 0.2, **more}
    return CheckpointScore(iteration, scale, loss, separation=apart, **values)


PROPOSALS: list[tuple[str, list[CheckpointScore], tuple[int, float], str]] = [
    ("lowest loss", [score(1, 1, 0.5), score(2, 1, 0.4), score(3, 1, 0.45)], (2, 1), "lowest validation loss (0.4, "),
    ("alike: most apart", [score(1, 1, 0.402, 0.95), score(2, 1, 0.4, 0.8)], (1, 1), "which are alike, most apart"),
    ("alike in all: the earlier", [score(2, 1, 0.4), score(1, 1, 0.4)], (1, 1), "alike"),
    (
        "overtrained at full strength, not at less",
        [score(1, 0.7, 0.5), score(1, 1, 0.48), score(2, 0.7, 0.3, 0.8), score(2, 1, 0.2, 0.4)],
        (1, 1),
        "iteration 2 is overtrained: it takes over the composition (apart 0.40)",
    ),
    (
        "all overtrained at full strength",
        [score(1, 0.7, 0.5), score(1, 1, 0.4, 0.5), score(2, 0.7, 0.45), score(2, 1, 0.3, 0.4)],
        (2, 0.7),
        "none of them would also do so at full strength",
    ),
    (
        "none keeps subjects apart",
        [score(1, 1, 0.5, 0.45), score(2, 1, 0.3, 0.3)],
        (1, 1),
        "no checkpoint would keep subjects apart",
    ),
    ("deaf to its trigger", [score(1, 1, 0.3, trigger_change=0.01), score(2, 1, 0.4)], (2, 1), "answer to the trigger"),
    (
        "all deaf to the trigger",
        [score(1, 1, 0.3, trigger_change=0.01), score(2, 1, 0.4, trigger_change=0.02)],
        (1, 1),
        "none of them would also answer to the trigger",
    ),
    ("no change", [score(1, 1, 0.3, change=0.0), score(2, 1, 0.4)], (2, 1), "change pictures"),
    ("no losses: strongest", [score(1, 1, None), score(2, 1, None, change=0.6)], (2, 1), "no picture is held out"),
    ("no losses, alike", [score(2, 1, None), score(1, 0.7, None), score(1, 1, None)], (1, 1), "strongest change"),
    ("a loss that is no number", [score(1, 1, 0.5), score(2, 1, float("nan"))], (1, 1), "lowest validation loss (0.5"),
    ("no separation", [score(1, 1, 0.5, None), score(2, 1, 0.4, None)], (2, 1), "lowest validation loss"),
]


@pytest.mark.parametrize(("scores", "wanted", "told"), [case[1:] for case in PROPOSALS], ids=[c[0] for c in PROPOSALS])
def test_the_proposal_and_its_reason(scores: list[CheckpointScore], wanted: tuple[int, float], told: str) -> None:
    proposal = propose(scores, 0.6, LIMITS)
    assert (proposal.iteration, proposal.lora_scale) == wanted
    assert told in proposal.reason
    assert propose(scores[::-1], 0.6, LIMITS) == proposal


def test_what_was_not_measured_is_not_claimed() -> None:
    reason = propose([replace(score(1, 1, None, None), trigger_change=None)], None, LIMITS).reason
    assert "apart" not in reason
    assert "trigger" not in reason


def test_only_full_strength_tells_overtraining() -> None:
    scores = [score(1, 0.7, None, 0.3), score(1, 1, None, 0.9), score(2, 0.7, None), score(2, 1, None, 0.3)]
    assert overtrained(scores, LIMITS) == {2: 0.3}


def test_nothing_to_choose_among() -> None:
    with pytest.raises(ValueError, match="nothing"):
        propose([], None, LIMITS)


# --- scoring


@pytest.fixture
def request_for(shipped: DataDir, tmp_path: Path) -> Callable[..., ScoringRequest]:
    def make(trigger: str | None = "old_west", pairs: int = 10) -> ScoringRequest:
        paths: dict[int, Path] = {}
        for iteration in (200, 100):
            numbers, path = np.random.default_rng(iteration), tmp_path / f"{iteration}.safetensors"
            bits = ((info, numbers.normal(0, 0.1, info.shape).astype(np.float32).view(np.uint32)) for info in LAYOUT)
            write_safetensors(path, bits, LAYOUT, {"lora_rank": "1"})
            paths[iteration] = path
        pictures = tuple(TrainingExample(write_pair(tmp_path, f"{n}", n), "old_west") for n in range(pairs))
        return ScoringRequest(
            checkpoints=paths,
            lora_scales=(1.0, 0.7),
            prompts=ScoredPrompts(("a mill at noon", "a church at dusk", "a ship"), 11, "harrowmere"),
            trigger=trigger,
            base_model=BASE_MODELS["tiny-flux"],
            keymap=select_keymap(shipped.keymaps_root, "mflux", "0.24.0"),
            reading=select_reading_keymap(shipped.keymaps_root, "mlx"),
            examples=pictures,
            recipe=Recipe(),
            tier="portrait",
        )

    return make


def test_every_checkpoint_at_every_scale(request_for: Callable[..., ScoringRequest]) -> None:
    renderer, meter, seen = FakeRenderer(), FakeValidationMeter(), list[tuple[int, int]]()
    scores = score_checkpoints(request_for(), renderer, meter, lambda done, total: seen.append((done, total)))
    cells = [cell.score for cell in scores.cells]
    assert [(cell.iteration, cell.lora_scale) for cell in cells] == [(100, 0.7), (100, 1.0), (200, 0.7), (200, 1.0)]
    assert cells[0].change < cells[1].change
    assert all(cell.trigger_change is not None and cell.trigger_change > 0.03 for cell in cells)
    assert all(cell.separation is not None for cell in cells)
    assert len({cell.validation_loss for cell in cells}) == 4
    assert (scores.base_loss, scores.validation_pairs) == (1.0, 1)
    assert seen == [(number, 19) for number in range(1, 20)]  # 3 + 4 × (3 + 1)
    assert {(request.seed, request.width_px) for request in renderer.requests} == {(11, 128)}
    ((asked,), scales) = meter.requests, [use.lora_scale for use in meter.requests[0].adapters]
    assert ([use.path.stem for use in asked.adapters], scales) == (["100", "100", "200", "200"], [0.7, 1.0, 0.7, 1.0])


def test_without_a_trigger_and_without_held_out_pictures(request_for: Callable[..., ScoringRequest]) -> None:
    renderer = FakeRenderer(wakes="always")
    scores = score_checkpoints(request_for(trigger=None, pairs=9), renderer, FakeValidationMeter())
    assert all(cell.score.trigger_change is None and cell.score.validation_loss is None for cell in scores.cells)
    assert (scores.base_loss, scores.validation_pairs) == (None, 0)
    assert {request.positive_prompt for request in renderer.requests} == {
        "a mill at noon",
        "a church at dusk",
        "a ship",
    }


def test_an_adapter_that_is_not_applied_whole_has_no_score(request_for: Callable[..., ScoringRequest]) -> None:
    with pytest.raises(RenderError, match="keys matched"):
        score_checkpoints(request_for(), FakeRenderer(keys_ignored=1), FakeValidationMeter())


def test_grid_and_table(request_for: Callable[..., ScoringRequest]) -> None:
    scores = score_checkpoints(request_for(), FakeRenderer(), FakeValidationMeter())
    figures = scores.as_json()
    proposal = propose([cell.score for cell in scores.cells], scores.base_loss, LIMITS)
    prompts = request_for().prompts.model_dump()
    table = write_table("west/land", figures, prompts, proposal, LIMITS, (100, "Ada | Eve"))
    rows = [line for line in table.splitlines() if line.startswith(("| 100", "| 200"))]
    assert len(rows) == 4
    assert len({line.count(" | ") for line in rows}) == 1
    assert f"Proposed: {proposal.reason}." in table
    assert "Chosen by Ada \\| Eve: iteration 100." in table
    assert sum("**proposed**" in line for line in rows) == 1
    with Image.open(io.BytesIO(draw_grid(scores))) as image:
        assert image.size == (6 * (128 + 6) + 6, 3 * (96 + 22) + 6)  # a row each for the base and two checkpoints


def test_scores_that_were_recorded_under_the_older_name_are_read() -> None:
    score = CheckpointScore(10, 0.5, 0.25, 0.2, None, 0.1)
    older = {"held_out_loss" if name == "validation_loss" else name: value for name, value in score.as_json().items()}
    assert CheckpointScore.from_json(older) == CheckpointScore.from_json(score.as_json()) == score
    assert "held_out_loss" in older
