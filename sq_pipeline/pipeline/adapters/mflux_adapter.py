"""The asset `mflux_adapter`: the chosen checkpoint, or a file from elsewhere, in names that mflux loads."""

import tempfile
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.adapters.tensor_survey import tensors_data_version
from sq_pipeline.common.errors import AdapterError, Fault
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_status import (
    base_model_for,
    external_file,
    keymap_of,
    reading_keymap_of,
    ready,
)
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.store import Record


def make_mflux_adapter(context: Context, adapter: Adapter) -> tuple[Record, bool]:
    """Remap the adapter (or take an external file as it is), unless the store has it."""
    step, states = ready(context, adapter, "mflux_adapter")
    if step.record is not None:
        return context.reuse(step, step.record), False
    source = _source_file(context, adapter, states)
    info: dict[str, Any] = {"taken": "as it is"}
    reading = reading_keymap_of(context, adapter)
    if reading is not None:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "adapter.safetensors"
            base_model = base_model_for(context, adapter) if adapter.dataset is not None else None
            info = remap_adapter(source, output, keymap_of(context), base_model, reading=reading).as_json()
            stored, version = context.store.put_file(output, ".safetensors"), tensors_data_version(output)
    else:
        stored, version = context.store.put_file(source, ".safetensors"), tensors_data_version(source)
    _insist_same_source(adapter, source, step)
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=version,
        objects={"adapter": stored},
        info=info,
    )
    return context.keep(step, record), True


def _source_file(context: Context, adapter: Adapter, states: dict[str, Step]) -> Path:
    """The adapter before the remap: the chosen checkpoint of its training, or the file from elsewhere."""
    upstream = states.get("chosen_checkpoint")
    if upstream is None or upstream.record is None:
        return external_file(context, adapter)
    return context.store.path_of(upstream.record.objects["adapter"])


def _insist_same_source(adapter: Adapter, source: Path, step: Step) -> None:
    """Raises AdapterError when a file from elsewhere is no longer what the step is about."""
    if adapter.dataset is None and tensors_data_version(source) != step.inputs["source"]:
        problem = "changed while it was being read"
        raise AdapterError(Fault(f"content/lora/{adapter.file}", "", problem, "run again; nothing was kept"))
