"""The rule that proposes a checkpoint, and scoring with fake engines. The measures themselves: `verification`."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sq_pipeline.adapters.keymap_files import select_keymap, select_reading_keymap
from sq_pipeline.adapters.safetensors_file import write_safetensors
from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.adapters.checkpoints.checkpoint_report import draw_grid, write_table
from sq_pipeline.pipeline.adapters.checkpoints.checkpoint_scoring import ScoringRequest, score_checkpoints
from sq_pipeline.pipeline.reference_pictures import as_reference
from sq_pipeline.training.checkpoint_scores import CheckpointScore, ScoreLimits, overtrained, propose
from sq_pipeline.training.ports import TrainingExample
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification.prompts import VerifyPrompt, VerifyPrompts
from sq_pipeline_tests.builders import write_pair
from sq_pipeline_tests.fakes import FakeRenderer, FakeValidationMeter
from sq_pipeline_tests.pipeline.fast import LAYOUT

LIMITS = ScoreLimits(
    change_min=0.001,
    subject_kept_min=0.4,
    style_share_min=0.15,
    style_direction_min=0.5,
    style_distance_max=0.9,
    trigger_effect_min=0.5,
)

# --- the rule


def score(iteration: int, loss: float | None, kept: float | None = 0.9, **more: Any) -> CheckpointScore:
    values = {"change": 0.5, "style_share": 0.5, "style_direction": 0.9, "style_distance": 0.6, **more}
    return CheckpointScore(iteration, loss, subject_kept=kept, **values)


NONE: dict[str, Any] = {"style_share": None, "style_direction": None, "style_distance": None}
PROPOSALS: list[tuple[str, list[CheckpointScore], int, str]] = [
    ("lowest loss", [score(1, 0.5), score(2, 0.4), score(3, 0.45)], 2, "lowest validation loss (0.4, "),
    ("alike: most of the subject", [score(1, 0.402, 0.95), score(2, 0.4, 0.8)], 1, "which are alike, most of the subj"),
    ("alike in all: the earlier", [score(2, 0.4), score(1, 0.4)], 1, "alike"),
    (
        "overtrained",
        [score(1, 0.48), score(2, 0.2, 0.3)],
        1,
        "iteration 2 is overtrained: it takes over the composition (30 % kept)",
    ),
    ("none keeps subjects apart", [score(1, 0.5, 0.35), score(2, 0.3, 0.1)], 1, "no checkpoint would keep subjects"),
    ("a subject that is no number", [score(1, 0.5), score(2, 0.3, float("nan"))], 1, "iteration 2 is overtrained"),
    ("no change", [score(1, 0.3, change=0.0), score(2, 0.4)], 2, "change pictures"),
    ("not there yet", [score(1, 0.3, style_share=0.1), score(2, 0.4)], 2, "and take pictures to the dataset's style"),
    ("another way", [score(1, 0.3, style_direction=0.2), score(2, 0.4)], 2, "the dataset's style"),
    ("overshot", [score(1, 0.3, style_distance=1.2), score(2, 0.4)], 2, "the dataset's style"),
    (
        "a faint style by its distance",
        [score(1, 0.3, **{**NONE, "style_distance": 1.2}), score(2, 0.4)],
        2,
        "style",
    ),
    (
        "none shows the style",
        [score(1, 0.3, style_share=0.1), score(2, 0.4, style_share=0.0)],
        1,
        "none of them would also take pictures to the dataset's style",
    ),
    ("always on", [score(1, 0.3, trigger_effect=0.1), score(2, 0.4, trigger_effect=0.8)], 2, "only with the trigger"),
    (
        "all always on",
        [score(1, 0.3, trigger_effect=0.1), score(2, 0.4, trigger_effect=0.2)],
        1,
        "none of them would also show it only with the trigger",
    ),
    ("no losses: farthest", [score(1, None), score(2, None, style_share=0.6)], 2, "farthest towards the style"),
    (
        "no losses, no style",
        [score(1, None, **NONE), score(2, None, change=0.6, **NONE)],
        2,
        "strongest change",
    ),
    ("no losses, alike", [score(2, None, **NONE), score(1, None, **NONE)], 1, "no picture is held out"),
    ("a loss that is no number", [score(1, 0.5), score(2, float("nan"))], 1, "lowest validation loss (0.5"),
    ("no subject", [score(1, 0.5, None), score(2, 0.4, None)], 2, "lowest validation loss"),
]


@pytest.mark.parametrize(("scores", "wanted", "told"), [case[1:] for case in PROPOSALS], ids=[c[0] for c in PROPOSALS])
def test_the_proposal_and_its_reason(scores: list[CheckpointScore], wanted: int, told: str) -> None:
    proposal = propose(scores, 0.6, LIMITS)
    assert proposal.iteration == wanted
    assert told in proposal.reason
    assert propose(scores[::-1], 0.6, LIMITS) == proposal


def test_what_was_not_measured_is_not_claimed() -> None:
    reason = propose([score(1, None, None, **NONE)], None, LIMITS).reason
    assert not any(word in reason for word in ("apart", "trigger", "style", "composition"))


def test_what_keeps_little_of_the_composition_is_overtrained() -> None:
    assert overtrained([score(1, None, 0.4), score(2, None, 0.39), score(3, None, None)], LIMITS) == {2: 0.39}


def test_nothing_to_choose_among() -> None:
    with pytest.raises(ValueError, match="nothing"):
        propose([], None, LIMITS)


# --- scoring

PROMPTS = VerifyPrompts(
    version=1,
    control_word="harrowmere",
    prompts=tuple(VerifyPrompt(prompt=text, seed=11 + at) for at, text in enumerate(["a mill", "a church", "a ship"])),
)


@pytest.fixture
def request_for(shipped: DataDir, tmp_path: Path) -> Callable[..., ScoringRequest]:
    def make(trigger: str | None = "old_west", pairs: int = 10, **recipe: Any) -> ScoringRequest:
        paths: dict[int, Path] = {}
        for iteration in (200, 100):
            numbers, path = np.random.default_rng(iteration), tmp_path / f"{iteration}.safetensors"
            bits = ((info, numbers.normal(0, 0.1, info.shape).astype(np.float32).view(np.uint32)) for info in LAYOUT)
            write_safetensors(path, bits, LAYOUT, {"lora_rank": "1"})
            paths[iteration] = path
        pictures = tuple(TrainingExample(write_pair(tmp_path, f"{n}", n), "old_west") for n in range(pairs))
        whole, model = Recipe.model_validate(recipe), BASE_MODELS["tiny-flux"]
        return ScoringRequest(
            checkpoints=paths,
            prompts=PROMPTS,
            trigger=trigger,
            base_model=model,
            keymap=select_keymap(shipped.keymaps_root, "mflux", "0.24.0"),
            reading=select_reading_keymap(shipped.keymaps_root, "mlx"),
            examples=pictures,
            recipe=whole,
            tier="portrait",
            reference=as_reference(
                "land", [e.image_path for e in pictures], [e.caption for e in pictures], whole, model
            ),
        )

    return make


def test_every_checkpoint_with_the_pictures_of_the_gate(request_for: Callable[..., ScoringRequest]) -> None:
    renderer, meter, seen = FakeRenderer(), FakeValidationMeter(), list[int]()
    scores = score_checkpoints(request_for(), renderer, meter, seen.append)
    found = [each.score for each in scores.checkpoints]
    assert [score.iteration for score in found] == [100, 200]
    assert all(score.change > 0.03 for score in found)
    assert all(score.style_distance is not None and score.subject_kept is not None for score in found)
    assert all(score.trigger_effect is None for score in found)  # the recipe does not ask for it
    assert len({score.validation_loss for score in found}) == 2
    assert (scores.base_loss, scores.validation_pairs) == (1.0, 1)
    assert seen == list(range(1, 16))  # the base model's: with the trigger, with the control word and two seeds; 2 × 3
    assert {use.lora_scale for request in renderer.requests for use in request.adapters} == {1.0}
    size = BASE_MODELS["tiny-flux"].settings_for("portrait").size
    assert {(r.width_px, r.height_px) for r in renderer.requests} == {(size.width_px, size.height_px)}
    (asked,) = meter.requests
    assert [use.path.stem for use in asked.adapters] == ["100", "200"]


def test_a_trigger_that_is_required_takes_a_second_set(request_for: Callable[..., ScoringRequest]) -> None:
    renderer = FakeRenderer(wakes="on_trigger")
    scores = score_checkpoints(request_for(trigger_required=True), renderer, FakeValidationMeter())
    assert [each.score.trigger_effect for each in scores.checkpoints] == [pytest.approx(1)] * 2
    always = score_checkpoints(request_for(trigger_required=True), FakeRenderer(wakes="always"), FakeValidationMeter())
    assert all((each.score.trigger_effect or 0) < 0.5 for each in always.checkpoints)
    assert sum(bool(request.adapters) for request in renderer.requests) == 2 * 2 * 3


def test_a_subject_is_held_against_no_style(request_for: Callable[..., ScoringRequest]) -> None:
    scores = score_checkpoints(request_for(kind="subject"), FakeRenderer(), FakeValidationMeter())
    assert all(each.score.style_distance is None for each in scores.checkpoints)
    assert all(each.score.subject_kept is not None for each in scores.checkpoints)
    assert scores.dataset == ()


def test_without_a_trigger_and_without_held_out_pictures(request_for: Callable[..., ScoringRequest]) -> None:
    renderer = FakeRenderer(wakes="always")
    scores = score_checkpoints(request_for(trigger=None, pairs=9), renderer, FakeValidationMeter())
    assert all(each.score.validation_loss is None for each in scores.checkpoints)
    assert (scores.base_loss, scores.validation_pairs) == (None, 0)
    assert {r.positive_prompt for r in renderer.requests if r.adapters} == {"a mill", "a church", "a ship"}


def test_an_adapter_that_is_not_applied_whole_has_no_score(request_for: Callable[..., ScoringRequest]) -> None:
    with pytest.raises(RenderError, match="keys matched"):
        score_checkpoints(request_for(), FakeRenderer(keys_ignored=1), FakeValidationMeter())


def test_grid_and_table(request_for: Callable[..., ScoringRequest]) -> None:
    scores = score_checkpoints(request_for(), FakeRenderer(), FakeValidationMeter())
    figures = scores.as_json()
    proposal = propose([each.score for each in scores.checkpoints], scores.base_loss, LIMITS)
    table = write_table("west/land", figures, PROMPTS.model_dump(), proposal, LIMITS, (100, "Ada | Eve"))
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 6  # head, line, limits, base model, two checkpoints
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert f"Proposed: {proposal.reason}." in table
    assert "Chosen by Ada \\| Eve: iteration 100." in table
    assert sum("**proposed**" in line for line in rows) == 1
    assert "a church (seed 12)" in table
    with Image.open(io.BytesIO(draw_grid(scores))) as image:
        assert image.width == 3 * (192 + 6) + 6  # a column a prompt
        assert image.height > 4 * 192 * 1.2  # the dataset, the base model, two checkpoints; portraits are upright
