"""The asset `training_dataset`: a dataset that passed its preflight."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from sq_pipeline.common.errors import DatasetError, Fault
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, AssetCheck, Making, Steps
from sq_pipeline.pipeline.adapters.facts import (
    base_model_for,
    dataset_label,
    folder_inputs,
    recipe_of,
    trainer_of,
)
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import Inputs, dataset_inputs
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.dataset import TrainingDataset, check_dataset, fingerprint_folder, read_captions
from sq_pipeline.training.preflight.later_stages import LaterStages, judge_texts, trainer_faults
from sq_pipeline.training.preflight.like_faults import group_faults
from sq_pipeline.training.preflight.recipe_notes import recipe_notes


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
    info = {**dataset.as_json(), "warnings": [str(warning) for warning in group_faults(dataset.warnings)]}
    return making.step.as_record(dataset.data_version, objects, info)


def checked_dataset(context: Context, adapter: Adapter) -> TrainingDataset:
    """The dataset as its preflight finds it; raises DatasetError for all that is not fit to train."""
    folder = context.data.datasets_root / str(adapter.dataset)
    # what the trainer refuses of the recipe is told of the training
    later = LaterStages(context.token_counter, lambda _plan: ())
    return check_dataset(folder, dataset_label(adapter), context.base_model_of_adapter(adapter).name, later)


def _refine(context: Context, adapter: Adapter, step: Step, _steps: Steps) -> Step:
    """Blocked where captions are longer than the base model reads; nothing is decoded for that."""
    if step.status != "stale" or step.record is not None:
        return step
    faults = group_faults(_text_faults(context, adapter))
    return replace(step, status="blocked", reasons=tuple(map(str, faults))) if faults else step


def _text_faults(context: Context, adapter: Adapter) -> list[Fault]:
    recipe, base_model = recipe_of(context, adapter), base_model_for(context, adapter)
    later = LaterStages(context.token_counter, lambda _plan: ())
    return judge_texts(recipe, base_model, captions_of(context, adapter), dataset_label(adapter), later)[0]


def dataset_warnings(context: Context, adapter: Adapter, steps: Steps) -> list[str]:
    """What is worth a look of a dataset, as it was found when it was checked, and of its recipe, as it is said now."""
    step = steps.get("training_dataset")
    if step is None or step.status == "blocked":
        return []
    found: list[str] = step.record.info.get("warnings", []) if step.record is not None else []
    file = f"{dataset_label(adapter)}/lora.yaml"
    notes = recipe_notes(recipe_of(context, adapter), file)
    return [*(line for line in found if not line.startswith(f"{file}: ")), *map(str, notes)]


def captions_of(context: Context, adapter: Adapter) -> list[tuple[str, str]]:
    """The captions that can be read, each with its file, also where the dataset has faults."""
    folder, label = context.data.datasets_root / str(adapter.dataset), dataset_label(adapter)
    return context.remember(("captions", adapter.key), lambda: read_captions(folder, label))


def training_faults(context: Context, adapter: Adapter) -> list[Fault]:
    """What its trainer would refuse, known before anything is trained."""
    trainer = trainer_of(context, adapter)
    later = LaterStages(context.token_counter, lambda plan: context.engines.training_faults(trainer, plan))
    captions = [text for _, text in captions_of(context, adapter)]
    recipe, base_model = recipe_of(context, adapter), base_model_for(context, adapter)
    return list(trainer_faults(recipe, base_model, captions, dataset_label(adapter), later))


def insist_unchanged(context: Context, adapter: Adapter, dataset: Step) -> None:
    """Raises DatasetError when the folder is no longer what this run is about: its work would bear a wrong name."""
    label = dataset_label(adapter)
    now = fingerprint_folder(context.data.datasets_root / str(adapter.dataset), label, context.files.hash_of)
    if dataset_inputs(now) != dataset.inputs:
        raise DatasetError(Fault(label, "", "changed while it was being read", "run again; nothing was kept"))


def checked_pairs(context: Context, adapter: Adapter, dataset: Record) -> list[tuple[Path, str]]:
    """Each picture with its caption as they were checked, from the dataset's own index: none is decoded for it."""
    folder = context.data.datasets_root / str(adapter.dataset)
    pairs = [json.loads(line) for line in context.store.read_text(dataset.objects["index"]).splitlines()]
    return [(folder / pair["image"], str(pair["prompt"])) for pair in pairs]


ASSET = AdapterAsset(
    name="training_dataset",
    upstream=(),
    sources=("dataset_folder",),
    inputs=_inputs,
    make=_make,
    refine=_refine,
    description=lambda adapter: (
        f"The pictures and captions that {adapter.name} learns from: content/lora-datasets/{adapter.dataset}. Checked "
        "before anything is trained: what is wrong with them is told all at once."
    ),
    figures=lambda record: {"pairs": record.info["pairs"], "trigger": record.info["trigger"] or "none"},
    tags=("dataset", "image"),
    check=AssetCheck("preflight", lambda _: True, lambda _: {}, refusal=DatasetError),
    is_for_trained=True,
)
