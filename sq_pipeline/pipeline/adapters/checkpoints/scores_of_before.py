"""What checkpoints were chosen by before the gate's own measures: to know again what was chosen then.

Nothing is scored so any more. Not here: what a checkpoint is chosen by today (`chosen_checkpoint`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import Steps, made
from sq_pipeline.pipeline.adapters.checkpoints.kept_checkpoints import KeptCheckpoint
from sq_pipeline.pipeline.adapters.facts import (
    base_model_for,
    keymap_of,
    recipe_of,
    source_keymap_of,
    verify_prompts_of,
)
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, checkpoint_scores_inputs_before

_PROMPTS, _SCALES, _SEPARATION_MIN = 4, (0.7, 1.0), 0.55


@dataclass(frozen=True)
class ScoresBefore:
    """What the scores were made from, and the limits of the proposal."""

    scores: Inputs
    limits: Mapping[str, float]


def scores_before(context: Context, adapter: Adapter, steps: Steps, kept: Mapping[int, KeptCheckpoint]) -> ScoresBefore:
    """For a training's kept checkpoints."""
    base_model, reading = base_model_for(context, adapter), source_keymap_of(context, adapter)
    prompts, thresholds = verify_prompts_of(context, adapter), context.settings.thresholds
    scores = checkpoint_scores_inputs_before(
        {iteration: checkpoint.data_version for iteration, checkpoint in kept.items()},
        made(steps, "training_dataset").data_version,
        recipe_of(context, adapter),
        None if reading is None else keymap_of(context),
        reading,
        adapter.trigger,
        {
            "prompts": tuple(item.prompt for item in prompts.prompts[:_PROMPTS]),
            "seed": prompts.prompts[0].seed,
            "control_word": prompts.control_word,
        },
        _SCALES,
        base_model,
        context.weights_hash(base_model),
        context.engines.renderer_versions,
        context.trainer_versions("mlx"),
    )
    changes = (1 - thresholds.ssim_changed_max, 1 - thresholds.ssim_trigger_max)
    names = ("change_min", "trigger_change_min", "separation_min")
    return ScoresBefore(scores, dict(zip(names, (*changes, _SEPARATION_MIN), strict=True)))
