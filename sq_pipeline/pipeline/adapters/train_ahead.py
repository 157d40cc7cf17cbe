"""Training an adapter ahead of the run that will want it, in a process of its own."""

import tempfile
from pathlib import Path

from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_status import ready
from sq_pipeline.pipeline.adapters.facts import sample_prompts_of, trainer_of
from sq_pipeline.pipeline.adapters.training_dataset import checked_dataset, insist_unchanged
from sq_pipeline.pipeline.context import Context
from sq_pipeline.training.ports import CheckpointPlace
from sq_pipeline.training.train import at_first, train_adapter


def train_ahead(context: Context, adapter: Adapter, wanted: str) -> bool:
    """Train the adapter up to its end and leave that beside its checkpoints, for the process that will make it of it.

    Only what has the fingerprint `wanted`; returns whether it was that.
    """
    step, states = ready(context, adapter, "mlx_adapter")
    if step.fingerprint != wanted or step.record is not None:
        return False
    insist = at_first(lambda: insist_unchanged(context, adapter, states["training_dataset"]))
    place = CheckpointPlace(context.data.checkpoint_folder(wanted), wanted, keeps_end=True)
    trainer, prompts = context.engines.trainer(trainer_of(context, adapter)), sample_prompts_of(context, adapter)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "final_adapters.safetensors"
        train_adapter(checked_dataset(context, adapter), trainer, output, insist, place, prompts)
    return True
