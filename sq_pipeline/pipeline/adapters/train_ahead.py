"""Training an adapter ahead of the run that will want it, in a process of its own, and scoring its checkpoints."""

import logging
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.errors import DivergedError, SqPipelineError
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import Making, Steps
from sq_pipeline.pipeline.adapters.adapter_status import ready
from sq_pipeline.pipeline.adapters.checkpoints.kept_checkpoints import kept_checkpoints
from sq_pipeline.pipeline.adapters.chosen_checkpoint import take_scores
from sq_pipeline.pipeline.adapters.facts import recipe_of, sample_prompts_of, trainer_of
from sq_pipeline.pipeline.adapters.mlx_adapter import adapter_objects
from sq_pipeline.pipeline.adapters.training_dataset import checked_dataset, insist_unchanged
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.training.checkpoint_folders import note_divergence
from sq_pipeline.training.ports import CheckpointPlace, TrainResult
from sq_pipeline.training.progress import shown_training
from sq_pipeline.training.train import at_first, both, train_adapter

_LOG = logging.getLogger(__name__)


def train_ahead(context: Context, adapter: Adapter, wanted: str, *, scores: bool = False) -> bool:
    """Train the adapter up to its end and leave that beside its checkpoints, for the process that will make it of it.

    Only what has the fingerprint `wanted`; returns whether it was that. A divergence is noted, and left to that process
    to tell of. With `scores` the store gets the scores of its
    kept checkpoints too: nobody's training waits for this process then.
    """
    step, states = ready(context, adapter, "mlx_adapter")
    if step.fingerprint != wanted or step.record is not None:
        return False
    insist = at_first(lambda: insist_unchanged(context, adapter, states["training_dataset"]))
    place = CheckpointPlace(context.data.checkpoint_folder(wanted), wanted, keeps_end=True)
    trainer, prompts = context.engines.trainer(trainer_of(context, adapter)), sample_prompts_of(context, adapter)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "final_adapters.safetensors"
        dataset = checked_dataset(context, adapter)
        try:
            with shown_training(adapter.key, dataset.recipe.iterations) as show:
                result = train_adapter(dataset, trainer, output, both(insist, show), place, prompts)
        except DivergedError as error:
            note_divergence(context.data, wanted, context.engines.chip, error.faults[0])
            return True
        if scores:
            with suppress(SqPipelineError):  # the run meets it too, and tells of it where it belongs
                _score(context, adapter, step, states, output, result)
    return True


def _score(context: Context, adapter: Adapter, step: Step, states: Steps, output: Path, result: TrainResult) -> None:
    """Score as the run would once it has made the adapter of this training; that is left to the run."""
    info = {"iterations": recipe_of(context, adapter).iterations}
    training = step.as_record(tensors_data_version(output), adapter_objects(context, output, result), info)
    kept = kept_checkpoints(context, training)
    if len(kept) > 1:
        steps = {**states, "mlx_adapter": replace(step, record=training)}
        take_scores(Making(context, adapter, steps["chosen_checkpoint"], steps, _LOG, lambda _: steps), kept)
