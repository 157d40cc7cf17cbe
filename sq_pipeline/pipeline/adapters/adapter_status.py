"""One adapter as it stands: each of its steps, what it would be made from, and why it is not fresh. Makes nothing.

The doing is in `adapters.promoted_adapter`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.dialects import Dialect
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.keymap_files import NAMES_REVISION, select_keymap, select_reading_keymap
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.source import dialect_of, open_family_adapter
from sq_pipeline.adapters.tensor_survey import tensors_data_version
from sq_pipeline.base_models.base_models import BaseModel, training_base_of
from sq_pipeline.common.errors import AdapterError, Fault, SqPipelineError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.kept_checkpoints import choice_for, kept_checkpoints, score_limits, scored_prompts
from sq_pipeline.pipeline.chain import follow, problems_of
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import (
    Inputs,
    checkpoint_scores_inputs,
    chosen_checkpoint_inputs,
    dataset_inputs,
    mflux_adapter_inputs,
    mlx_adapter_inputs,
    promotion_inputs,
    verification_inputs,
)
from sq_pipeline.pipeline.manifests import read_manifest
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.checkpoint_folders import last_checkpoint
from sq_pipeline.training.checkpoint_scores import SCORED_SCALES
from sq_pipeline.training.dataset import base_model_of, fingerprint_folder
from sq_pipeline.training.dataset_files import read_recipe
from sq_pipeline.training.recipe import Recipe, TrainerName
from sq_pipeline.verification.prompts import VerifyPrompts, load_verify_prompts, verify_prompt_values
from sq_pipeline.verification.thresholds import threshold_values

_LOADS_AS_IT_IS = ("kohya", "diffusers", "mflux")  # what mflux has names for; all else is remapped


_SAMPLES = 4


STEPS = ("training_dataset", "mlx_adapter", "chosen_checkpoint", "mflux_adapter", "verification", "promoted_adapter")


def adapter_folder(adapter: Adapter) -> str:
    """`<genre>/loras/<lora>`, in which all assets of an adapter are."""
    return f"{adapter.genre}/loras/{adapter.name}"


def asset_name(adapter: Adapter, step: str) -> str:
    """`<genre>/loras/<lora>/<step>`."""
    return f"{adapter_folder(adapter)}/{step}"


def steps_of(adapter: Adapter) -> tuple[str, ...]:
    """The steps of this adapter; an external file needs no dataset and no training."""
    return STEPS if adapter.dataset is not None else STEPS[3:]


def dataset_label(adapter: Adapter) -> str:
    """The name of an adapter's dataset in errors."""
    return f"content/lora-datasets/{adapter.dataset}"


def recipe_of(context: Context, adapter: Adapter) -> Recipe:
    """The adapter's recipe; the defaults for an external file. Raises DatasetError or ContentError."""
    if adapter.dataset is None:
        return Recipe()
    folder = context.data.datasets_root / adapter.dataset
    return context.remember(("recipe", adapter.key), lambda: read_recipe(folder, dataset_label(adapter)))


def trainer_of(context: Context, adapter: Adapter) -> TrainerName:
    """Who trains the adapter: its recipe's trainer, else that of `sq.yaml`."""
    return recipe_of(context, adapter).trainer or context.settings.trainer


def base_model_for(context: Context, adapter: Adapter) -> BaseModel:
    """The base model that the adapter is for: verified with it, and trained over it or its `training_base_of`."""
    return base_model_of(recipe_of(context, adapter), context.base_model_of_adapter(adapter).name)


def adapter_steps_of(context: Context, adapter: Adapter) -> dict[str, Step]:
    """Every step of an adapter as it stands; a fault makes its step `blocked` and what follows with it."""
    states: dict[str, Step] = {}
    for name in steps_of(adapter):
        asset = asset_name(adapter, name)
        upstream = next((s for s in reversed(states.values()) if s.status != "fresh" and s.record is None), None)
        if upstream is not None:
            states[name] = follow([upstream], asset, name)
            if (
                name == "promoted_adapter"
                and states[name].status == "pending"
                and context.settings.promotion == "manual"
            ):
                states[name] = replace(states[name], status="waiting", reasons=("then it waits for a person",))
            continue
        try:
            states[name] = _step_of(context, adapter, name, states)
        except SqPipelineError as error:
            states[name] = Step(asset, name, "blocked", reasons=tuple(map(str, error.faults)))
    return states


def _step_of(context: Context, adapter: Adapter, name: str, states: dict[str, Step]) -> Step:
    versions = {key: state.record.data_version for key, state in states.items() if state.record is not None}
    base_model = base_model_for(context, adapter)
    if name == "training_dataset":
        inputs = dataset_inputs(folder_inputs(context, adapter))
    elif name == "mlx_adapter":
        trained_over = training_base_of(base_model)
        inputs = mlx_adapter_inputs(
            versions["training_dataset"],
            recipe_of(context, adapter),
            trained_over,
            context.weights_hash(trained_over),
            context.trainer_versions(trainer_of(context, adapter)),
        )
        return _with_resume(context, context.step(asset_name(adapter, name), name, inputs))
    elif name == "chosen_checkpoint":
        inputs = _chosen_checkpoint_inputs(context, adapter, states)
    elif name == "mflux_adapter":
        reading = reading_keymap_of(context, adapter)
        keymap = None if reading is None else keymap_of(context)
        inputs = mflux_adapter_inputs(_source_version(context, adapter, versions), keymap, base_model.name, reading)
    elif name == "verification":
        inputs = verification_inputs(
            versions["mflux_adapter"],
            _source_version(context, adapter, versions),
            source_keymap_of(context, adapter) or family_names_of(base_model),
            adapter.trigger,
            verify_prompt_values(verify_prompts_of(context, adapter)),
            threshold_values(context.settings.thresholds),
            base_model,
            context.weights_hash(base_model),
            adapter.tier,
            context.engines.renderer_versions,
        )
    else:
        return _promotion_step_of(context, adapter, states)
    return context.step(asset_name(adapter, name), name, inputs)


def _with_resume(context: Context, training: Step) -> Step:
    """The training, saying where it goes on if it was cut off."""
    last = last_checkpoint(context.data, training.fingerprint) if training.record is None else None
    if last is None:
        return training
    return replace(training, reasons=(*training.reasons, f"goes on after iteration {last}, where it was cut off"))


def _promotion_step_of(context: Context, adapter: Adapter, states: dict[str, Step]) -> Step:
    adapter_record, verification = states["mflux_adapter"].record, states["verification"].record
    assert adapter_record is not None
    assert verification is not None
    asset = asset_name(adapter, "promoted_adapter")
    inputs = promotion_inputs(adapter_record.data_version, verification.data_version)
    if not verification.info["has_passed"]:
        failed = [f"{v['check']}: {v['detail']}" for v in verification.info["verdicts"] if v["outcome"] == "failed"]
        return Step(asset, "promoted_adapter", "blocked", inputs, reasons=("did not pass verification", *failed))
    step = context.step(asset, "promoted_adapter", inputs)
    if step.status == "fresh" and not (context.data.lora_root / adapter.file).is_file():
        return replace(step, status="stale", reasons=(f"content/lora/{adapter.file} is gone",))
    if step.status == "fresh" and step.record is not None and _is_replaced(context, adapter, step.record):
        return replace(step, status="stale", reasons=(f"content/lora/{adapter.file} is another adapter",))
    # with a record it was promoted before, just as it is, and nobody has to say yes again; but to another file
    if step.record is not None and step.record.info.get("file") != adapter.file:
        reason = f"it was promoted as content/lora/{step.record.info.get('file')}"
        step = replace(step, status="stale", record=None, reasons=(reason,))
    if step.status == "stale" and step.record is None and context.settings.promotion == "manual":
        reason = f"waits for a person: `sq-pipeline adapter promote {adapter.name} --by WHO`"
        return Step(asset, "promoted_adapter", "waiting", inputs, None, (reason, *step.reasons))
    return step


def _is_replaced(context: Context, adapter: Adapter, promoted: Record) -> bool:
    """True where something else was put there since, as under another name of the adapter.

    An adapter from elsewhere is never put there.
    """
    path = context.data.lora_root / adapter.file
    return adapter.dataset is not None and context.files.hash_of(path) != promoted.objects["adapter"].sha256


def _chosen_checkpoint_inputs(context: Context, adapter: Adapter, states: Mapping[str, Step]) -> Inputs:
    training = states["mlx_adapter"].record
    assert training is not None
    kept = kept_checkpoints(context, training)
    choice = choice_for(context, adapter, training, kept)
    scores = checkpoint_scores_inputs_of(context, adapter, states) if len(kept) > 1 else None
    limits = asdict(score_limits(context.settings.thresholds))
    return chosen_checkpoint_inputs(training.data_version, scores, limits, choice.iteration if choice else None)


def checkpoint_scores_inputs_of(context: Context, adapter: Adapter, states: Mapping[str, Step]) -> Inputs:
    """What the scores of an adapter's kept checkpoints are made from."""
    dataset, training = states["training_dataset"].record, states["mlx_adapter"].record
    assert dataset is not None
    assert training is not None
    base_model = base_model_for(context, adapter)
    kept = kept_checkpoints(context, training)
    reading = source_keymap_of(context, adapter)
    return checkpoint_scores_inputs(
        {iteration: checkpoint.data_version for iteration, checkpoint in kept.items()},
        dataset.data_version,
        recipe_of(context, adapter),
        None if reading is None else keymap_of(context),
        reading,
        adapter.trigger,
        scored_prompts(verify_prompts_of(context, adapter)).model_dump(),
        SCORED_SCALES,
        base_model,
        context.weights_hash(base_model),
        context.engines.renderer_versions,
        context.trainer_versions("mlx"),
    )


def folder_inputs(context: Context, adapter: Adapter) -> dict[str, Any]:
    """What the adapter's dataset holds, see `fingerprint_folder`."""
    folder = context.data.datasets_root / str(adapter.dataset)
    key = ("dataset", adapter.key)
    make = lambda: fingerprint_folder(folder, dataset_label(adapter), context.files.hash_of)  # noqa: E731
    return context.remember(key, make)


def external_file(context: Context, adapter: Adapter) -> Path:
    """A file from elsewhere, in its place; raises AdapterError where it is missing."""
    path = context.data.lora_root / adapter.file
    if not path.is_file():
        problem = "is neither there, nor is there a dataset to train it from"
        raise AdapterError(Fault(f"content/lora/{adapter.file}", "", problem, "add the file or the dataset"))
    return path


def _source_version(context: Context, adapter: Adapter, versions: Mapping[str, str]) -> str:
    """The data version of what goes into the remap: the chosen checkpoint, or the file from elsewhere."""
    if "chosen_checkpoint" in versions:
        return versions["chosen_checkpoint"]
    path = external_file(context, adapter)
    return context.files.remember(path, "tensors", lambda: tensors_data_version(path))


def reading_keymap_of(context: Context, adapter: Adapter) -> Keymap | None:
    """The keymap that the adapter is read by for the remap; None where mflux loads the file as it is.

    That is an external file in names of mflux's, and any of another family than FLUX.1: there is no other form of
    those. Raises AdapterError for a file of no dialect that is known, of two, or of another family's names.
    """
    base_model = base_model_for(context, adapter)
    if base_model.family != "flux1":
        if adapter.dataset is None:
            path, family = external_file(context, adapter), base_model.family
            context.remember(("family", adapter.key), lambda: open_family_adapter(path, family))
        return None
    if _dialect_of_source(context, adapter) in _LOADS_AS_IT_IS:
        return None
    return source_keymap_of(context, adapter)


def source_keymap_of(context: Context, adapter: Adapter) -> Keymap | None:
    """The keymap that says what the adapter means as it was trained; None where the names of its family say it.

    Raises AdapterError or KeymapError.
    """
    if base_model_for(context, adapter).family != "flux1":
        return None
    dialect, root = _dialect_of_source(context, adapter), context.data.keymaps_root
    return context.remember(("read_by", dialect), lambda: select_reading_keymap(root, dialect))


def family_names_of(base_model: BaseModel) -> str:
    """What says what an adapter of another family than FLUX.1 means, for fingerprints."""
    return f"names of {base_model.family}, revision {NAMES_REVISION}"


def _dialect_of_source(context: Context, adapter: Adapter) -> Dialect:
    if adapter.dataset is not None:
        return "mlx"
    path = external_file(context, adapter)
    return context.remember(("dialect", adapter.key), lambda: dialect_of(open_safetensors(path)))


def keymap_of(context: Context) -> Keymap:
    """The keymap for the mflux that is installed."""
    version = context.engines.mflux_version
    return context.remember("keymap", lambda: select_keymap(context.data.keymaps_root, "mflux", version))


def verify_prompts_of(context: Context, adapter: Adapter) -> VerifyPrompts:
    """The prompts that adapters of this tier are verified with."""
    return context.remember(("verify", adapter.tier), lambda: load_verify_prompts(context.data, adapter.tier))


def sample_prompts_of(context: Context, adapter: Adapter) -> tuple[str, ...]:
    """What samples are drawn of while training: the recipe's prompts, or the tier's first ones with the trigger."""
    recipe = recipe_of(context, adapter)
    if recipe.sample_prompts:
        return recipe.sample_prompts
    prompts = [item.prompt for item in verify_prompts_of(context, adapter).prompts[:_SAMPLES]]
    return tuple(f"{recipe.trigger}, {prompt}" if recipe.trigger else prompt for prompt in prompts)


def expected_training_s(context: Context, adapter: Adapter) -> float | None:
    """How long training should take by this adapter's last one, in seconds; None where it never was trained.

    Scaled by the number of pictures that pass through the model: iterations times batch times accumulation.
    """
    last = context.store.read_current(asset_name(adapter, "mlx_adapter"))
    record = context.store.read_record("mlx_adapter", last[0]) if last else None
    if record is None or "wall_s" not in record.info:
        return None
    sizes = ("iterations", "batch_size", "grad_accumulation")
    then = math.prod(record.inputs[f"recipe.{name}"] for name in sizes)
    now = math.prod(getattr(recipe_of(context, adapter), name) for name in sizes)
    encode_s = record.info["encode_s"]
    return encode_s + (record.info["wall_s"] - encode_s) * now / then


def promoted_record(context: Context, adapter: Adapter) -> Record | None:
    """The promoted adapter that pictures stand on, which may be older than what the line would make now.

    The store knows it; where the store was deleted, the manifest and the file it names tell the same.
    """
    asset = asset_name(adapter, "promoted_adapter")
    current = context.store.read_current(asset)
    if current is not None:
        record = context.store.read_record("promoted_adapter", current[0])
        if record is not None:
            return record
    return context.remember(("promoted", adapter.key), lambda: _promoted_by_manifest(context, adapter))


def _promoted_by_manifest(context: Context, adapter: Adapter) -> Record | None:
    entry = read_manifest(context.data, adapter.genre).get(adapter.name)
    path = context.data.lora_root / adapter.file
    if entry is None or not path.is_file() or adapter.dataset is None:
        return None
    version = tensors_data_version(path)
    if version != entry.get("adapter_version"):
        return None
    inputs = {"adapter": version, "manifest": True}
    return Record(
        kind="promoted_adapter",
        fingerprint=fingerprint(inputs),
        inputs=inputs,
        data_version=version,
        objects={"adapter": context.store.put_file(path, ".safetensors")},
        info={"promoted_by": entry.get("promoted_by"), "file": adapter.file},
    )


def ready(context: Context, adapter: Adapter, name: str) -> tuple[Step, dict[str, Step]]:
    """The step, with everything upstream there; raises AdapterError otherwise."""
    states = adapter_steps_of(context, adapter)
    step = states[name]
    if step.status in ("pending", "blocked") and step.record is None:
        raise AdapterError([Fault(step.asset, "", problem, "") for problem in problems_of(step)])
    return step, states
