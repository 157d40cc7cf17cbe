"""What goes into the remap, and what its outcome is held against: the chosen checkpoint, or a person's file."""

from pathlib import Path

from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.errors import AdapterError, Fault
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import Steps, made
from sq_pipeline.pipeline.adapters.facts import external_file
from sq_pipeline.pipeline.context import Context, Step


def source_version(context: Context, adapter: Adapter, steps: Steps) -> str:
    """Its data version."""
    if "chosen_checkpoint" in steps:
        return made(steps, "chosen_checkpoint").data_version
    path = external_file(context, adapter)
    return context.files.remember(path, "tensors", lambda: tensors_data_version(path))


def source_file(context: Context, adapter: Adapter, steps: Steps) -> Path:
    """Its file."""
    if "chosen_checkpoint" in steps:
        return context.adapter_file(made(steps, "chosen_checkpoint").objects["adapter"])
    return external_file(context, adapter)


def insist_same_source(adapter: Adapter, source: Path, step: Step) -> None:
    """Raises AdapterError when a file from elsewhere is no longer what the step is about."""
    if adapter.dataset is None and tensors_data_version(source) != step.inputs["source"]:
        problem = "changed while it was being read"
        raise AdapterError(Fault(adapter.place, "", problem, "run again; nothing was kept"))
