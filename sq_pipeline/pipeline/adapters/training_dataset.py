"""The asset `training_dataset`: a dataset that passed its preflight."""

import tempfile
from pathlib import Path

from sq_pipeline.common.errors import DatasetError, Fault
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, AssetCheck, Making, Steps
from sq_pipeline.pipeline.adapters.facts import dataset_label, folder_inputs
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import Inputs, dataset_inputs
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.dataset import TrainingDataset, check_dataset, fingerprint_folder


def _inputs(context: Context, adapter: Adapter, _steps: Steps) -> Inputs:
    return dataset_inputs(folder_inputs(context, adapter))


def _make(making: Making) -> Record:
    context, adapter = making.context, making.adapter
    dataset = checked_dataset(context, adapter)
    insist_unchanged(context, adapter, making.step)
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "train.jsonl"
        dataset.write_index(index)
        objects = {"index": context.store.put_file(index, ".jsonl")}
    return making.step.as_record(dataset.data_version, objects, dataset.as_json())


def checked_dataset(context: Context, adapter: Adapter) -> TrainingDataset:
    """The dataset as its preflight finds it; raises DatasetError for all that is not fit to train."""
    folder = context.data.datasets_root / str(adapter.dataset)
    return check_dataset(folder, dataset_label(adapter), context.base_model_of_adapter(adapter).name)


def insist_unchanged(context: Context, adapter: Adapter, dataset: Step) -> None:
    """Raises DatasetError when the folder is no longer what this run is about: its work would bear a wrong name."""
    label = dataset_label(adapter)
    now = fingerprint_folder(context.data.datasets_root / str(adapter.dataset), label, context.files.hash_of)
    if dataset_inputs(now) != dataset.inputs:
        raise DatasetError(Fault(label, "", "changed while it was being read", "run again; nothing was kept"))


ASSET = AdapterAsset(
    name="training_dataset",
    upstream=(),
    inputs=_inputs,
    make=_make,
    description=lambda adapter: (
        f"The pictures that {adapter.name} learns from: content/lora-datasets/{adapter.dataset}."
    ),
    figures=lambda record: {"pairs": record.info["pairs"], "trigger": record.info["trigger"] or "none"},
    check=AssetCheck("preflight", lambda _: True, lambda _: {}, refusal=DatasetError),
    is_for_trained=True,
)
