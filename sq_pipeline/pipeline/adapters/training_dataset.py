"""The asset `training_dataset`: a dataset that passed its preflight."""

import tempfile
from pathlib import Path

from sq_pipeline.common.errors import DatasetError, Fault
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_status import dataset_label, ready
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import dataset_inputs
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.dataset import TrainingDataset, check_dataset, fingerprint_folder


def make_dataset(context: Context, adapter: Adapter) -> tuple[Record, bool]:
    """Check the dataset. Returns the record, and whether work was done (False: the store had it)."""
    step, _ = ready(context, adapter, "training_dataset")
    if step.record is not None:
        return context.reuse(step, step.record), False
    dataset = checked_dataset(context, adapter)
    insist_unchanged(context, adapter, step)
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "train.jsonl"
        dataset.write_index(index)
        objects = {"index": context.store.put_file(index, ".jsonl")}
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=dataset.data_version,
        objects=objects,
        info=dataset.as_json(),
    )
    return context.keep(step, record), True


def checked_dataset(context: Context, adapter: Adapter) -> TrainingDataset:
    folder = context.data.datasets_root / str(adapter.dataset)
    return check_dataset(folder, dataset_label(adapter), context.base_model_of_adapter(adapter).name)


def insist_unchanged(context: Context, adapter: Adapter, dataset: Step) -> None:
    """Raises DatasetError when the folder is no longer what this run is about: its work would bear a wrong name."""
    label = dataset_label(adapter)
    now = fingerprint_folder(context.data.datasets_root / str(adapter.dataset), label, context.files.hash_of)
    if dataset_inputs(now) != dataset.inputs:
        raise DatasetError(Fault(label, "", "changed while it was being read", "run again; nothing was kept"))
