"""What checkpoints were chosen by before the gate's own measures: to know again what was chosen then.

Nothing is scored so any more. Not here: what a checkpoint is chosen by today (`chosen_checkpoint`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.facts import verify_prompts_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, Scored, checkpoint_scores_inputs_before

_PROMPTS, _SCALES, _SEPARATION_MIN = 4, (0.7, 1.0), 0.55


@dataclass(frozen=True)
class ScoresBefore:
    """What the scores were made from, and the limits of the proposal."""

    scores: Inputs
    limits: Mapping[str, float]


def scores_before(context: Context, adapter: Adapter, scored: Scored) -> ScoresBefore:
    """For a training's kept checkpoints."""
    prompts, thresholds = verify_prompts_of(context, adapter), context.settings.thresholds
    asked = {
        "prompts": tuple(item.prompt for item in prompts.prompts[:_PROMPTS]),
        "seed": prompts.prompts[0].seed,
        "control_word": prompts.control_word,
    }
    limits = {
        "change_min": 1 - thresholds.ssim_changed_max,
        "trigger_change_min": 1 - thresholds.ssim_trigger_max,
        "separation_min": _SEPARATION_MIN,
    }
    return ScoresBefore(checkpoint_scores_inputs_before(scored, asked, _SCALES), limits)
