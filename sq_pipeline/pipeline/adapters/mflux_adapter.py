"""The asset `mflux_adapter`: the chosen checkpoint, or a file from elsewhere, in names that mflux loads."""

import tempfile
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, Making, Steps
from sq_pipeline.pipeline.adapters.facts import base_model_for, external_preflight, keymap_of, reading_keymap_of
from sq_pipeline.pipeline.adapters.source_file import insist_same_source, source_file, source_version
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, mflux_adapter_inputs
from sq_pipeline.pipeline.store import Record


def _inputs(context: Context, adapter: Adapter, steps: Steps) -> Inputs:
    reading = reading_keymap_of(context, adapter)
    keymap = None if reading is None else keymap_of(context)
    base_model = base_model_for(context, adapter).name
    preflight = None if adapter.dataset is not None else external_preflight(context, adapter)
    strength = "" if preflight is None else preflight.strength
    return mflux_adapter_inputs(source_version(context, adapter, steps), keymap, base_model, reading, strength)


def _make(making: Making) -> Record:
    """Remap the adapter, or take a file that mflux loads as it is."""
    context, adapter = making.context, making.adapter
    source = source_file(context, adapter, making.steps)
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
    insist_same_source(adapter, source, making.step)
    return making.step.as_record(version, {"adapter": stored}, info)


ASSET = AdapterAsset(
    name="mflux_adapter",
    upstream=("chosen_checkpoint",),
    sources=("source_file", "keymaps"),
    inputs=_inputs,
    make=_make,
    description=lambda adapter: f"{adapter.name} under the names that the installed mflux loads. Not judged yet.",
    tags=("mflux",),
)
