"""The line of one adapter: dataset, MLX adapter, mflux adapter, verification, promotion. What is to do, and doing it.

Each `make_*` takes up what the store has and does the work only where it has not.
"""

import logging
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from sq_pipeline.core.base_models import BaseModel
from sq_pipeline.core.content import Adapter
from sq_pipeline.core.dialects import name_dialect
from sq_pipeline.core.errors import AdapterError, DatasetError, Fault, SqPipelineError, VerificationError
from sq_pipeline.core.fingerprints import canonical_json, fingerprint
from sq_pipeline.core.keymap import Keymap
from sq_pipeline.core.lineage import (
    dataset_inputs,
    mflux_adapter_inputs,
    mlx_adapter_inputs,
    promotion_inputs,
    verification_inputs,
)
from sq_pipeline.core.protocols import AdapterUse
from sq_pipeline.core.recipe import Recipe
from sq_pipeline.core.verdicts import Verdict
from sq_pipeline.stages.chain import follow, problems_of
from sq_pipeline.stages.dataset import TrainingDataset, base_model_of, check_dataset, fingerprint_folder
from sq_pipeline.stages.promote import AUTOMATIC, Promotion, promote_adapter
from sq_pipeline.stages.remap import remap_adapter
from sq_pipeline.stages.train import at_first, both, draw_loss_curve, log_progress, show_progress, train_adapter
from sq_pipeline.stages.verify import verify_adapter
from sq_pipeline.stages.verify_report import draw_report_sheet, write_markdown
from sq_pipeline.stages.workshop import Step, Workshop
from sq_pipeline.storage.datasets import read_recipe
from sq_pipeline.storage.keymaps import select_keymap
from sq_pipeline.storage.manifests import read_manifest
from sq_pipeline.storage.safetensors_file import open_safetensors, tensors_data_version
from sq_pipeline.storage.store import Record
from sq_pipeline.storage.verify_prompts import VerifyPrompts, load_verify_prompts

STEPS = ("training_dataset", "mlx_adapter", "mflux_adapter", "verification", "promoted_adapter")


def asset_name(adapter: Adapter, step: str) -> str:
    """`<genre>/loras/<lora>/<step>`."""
    return f"{adapter.genre}/loras/{adapter.name}/{step}"


def steps_of(adapter: Adapter) -> tuple[str, ...]:
    """The steps of this adapter; an external file needs no dataset and no training."""
    return STEPS if adapter.dataset is not None else STEPS[2:]


def _dataset_label(adapter: Adapter) -> str:
    return f"content/lora-datasets/{adapter.dataset}"


def _recipe(workshop: Workshop, adapter: Adapter) -> Recipe:
    if adapter.dataset is None:
        return Recipe()
    folder = workshop.data.datasets_root / adapter.dataset
    return workshop.remember(("recipe", adapter.key), lambda: read_recipe(folder, _dataset_label(adapter)))


def base_model_for(workshop: Workshop, adapter: Adapter) -> BaseModel:
    """The base model that the adapter is trained over and verified with."""
    return base_model_of(_recipe(workshop, adapter), workshop.base_model_of_adapter(adapter).name)


def survey_adapter(workshop: Workshop, adapter: Adapter) -> dict[str, Step]:
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
                and workshop.settings.promotion == "manual"
            ):
                states[name] = replace(states[name], status="waiting", reasons=("then it waits for a person",))
            continue
        try:
            states[name] = _survey_step(workshop, adapter, name, states)
        except SqPipelineError as error:
            states[name] = Step(asset, name, "blocked", reasons=tuple(map(str, error.faults)))
    return states


def _survey_step(workshop: Workshop, adapter: Adapter, name: str, states: dict[str, Step]) -> Step:
    versions = {key: state.record.data_version for key, state in states.items() if state.record is not None}
    base_model = base_model_for(workshop, adapter)
    if name == "training_dataset":
        inputs = dataset_inputs(_folder_inputs(workshop, adapter))
    elif name == "mlx_adapter":
        inputs = mlx_adapter_inputs(
            versions["training_dataset"],
            _recipe(workshop, adapter),
            base_model,
            workshop.weights_hash(base_model),
            workshop.engines.trainer_versions,
        )
    elif name == "mflux_adapter":
        source = versions.get("mlx_adapter") or _external_version(workshop, adapter)
        keymap = _keymap(workshop) if _needs_remap(workshop, adapter) else None
        inputs = mflux_adapter_inputs(source, keymap, base_model.name)
    elif name == "verification":
        inputs = verification_inputs(
            versions["mflux_adapter"],
            adapter.trigger,
            _verify_prompts(workshop, adapter).model_dump(),
            workshop.settings.thresholds.model_dump(),
            base_model,
            workshop.weights_hash(base_model),
            adapter.tier,
            workshop.engines.renderer_versions,
        )
    else:
        return _survey_promotion(workshop, adapter, states)
    return workshop.step(asset_name(adapter, name), name, inputs)


def _survey_promotion(workshop: Workshop, adapter: Adapter, states: dict[str, Step]) -> Step:
    adapter_record, verification = states["mflux_adapter"].record, states["verification"].record
    assert adapter_record is not None
    assert verification is not None
    asset = asset_name(adapter, "promoted_adapter")
    inputs = promotion_inputs(adapter_record.data_version, verification.data_version)
    if not verification.info["has_passed"]:
        failed = [f"{v['check']}: {v['detail']}" for v in verification.info["verdicts"] if v["outcome"] == "failed"]
        return Step(asset, "promoted_adapter", "blocked", inputs, reasons=("did not pass verification", *failed))
    step = workshop.step(asset, "promoted_adapter", inputs)
    if step.status == "fresh" and not (workshop.data.lora_root / adapter.file).is_file():
        return replace(step, status="stale", reasons=(f"content/lora/{adapter.file} is gone",))
    # with a record it was promoted before, just as it is, and nobody has to say yes again; but to another file
    if step.record is not None and step.record.info.get("file") != adapter.file:
        reason = f"it was promoted as content/lora/{step.record.info.get('file')}"
        step = replace(step, status="stale", record=None, reasons=(reason,))
    if step.status == "stale" and step.record is None and workshop.settings.promotion == "manual":
        reason = f"waits for a person: `sq-pipeline adapter promote {adapter.name} --by WHO`"
        return Step(asset, "promoted_adapter", "waiting", inputs, None, (reason, *step.reasons))
    return step


def _folder_inputs(workshop: Workshop, adapter: Adapter) -> dict[str, Any]:
    folder = workshop.data.datasets_root / str(adapter.dataset)
    key = ("dataset", adapter.key)
    make = lambda: fingerprint_folder(folder, _dataset_label(adapter), workshop.files.hash_of)  # noqa: E731
    return workshop.remember(key, make)


def _external_file(workshop: Workshop, adapter: Adapter) -> Path:
    path = workshop.data.lora_root / adapter.file
    if not path.is_file():
        problem = "is neither there, nor is there a dataset to train it from"
        raise AdapterError(Fault(f"content/lora/{adapter.file}", "", problem, "add the file or the dataset"))
    return path


def _external_version(workshop: Workshop, adapter: Adapter) -> str:
    path = _external_file(workshop, adapter)
    return workshop.files.remember(path, "tensors", lambda: tensors_data_version(path))


def _needs_remap(workshop: Workshop, adapter: Adapter) -> bool:
    if adapter.dataset is not None:
        return True
    return name_dialect(open_safetensors(_external_file(workshop, adapter)).tensors) == "mlx-examples"


def _keymap(workshop: Workshop) -> Keymap:
    version = workshop.engines.mflux_version
    return workshop.remember("keymap", lambda: select_keymap(workshop.data.keymaps_root, "mflux", version))


def _verify_prompts(workshop: Workshop, adapter: Adapter) -> VerifyPrompts:
    return workshop.remember(("verify", adapter.tier), lambda: load_verify_prompts(workshop.data, adapter.tier))


def _ready(workshop: Workshop, adapter: Adapter, name: str) -> tuple[Step, dict[str, Step]]:
    """The step, with everything upstream there; raises AdapterError otherwise."""
    states = survey_adapter(workshop, adapter)
    step = states[name]
    if step.status in ("pending", "blocked") and step.record is None:
        raise AdapterError([Fault(step.asset, "", problem, "") for problem in problems_of(step)])
    return step, states


def make_dataset(workshop: Workshop, adapter: Adapter) -> tuple[Record, bool]:
    """Check the dataset. Returns the record, and whether work was done (False: the store had it)."""
    step, _ = _ready(workshop, adapter, "training_dataset")
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    dataset = _checked(workshop, adapter)
    _insist_unchanged(workshop, adapter, step)
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "train.jsonl"
        dataset.write_index(index)
        objects = {"index": workshop.store.put_file(index, ".jsonl")}
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=dataset.data_version,
        objects=objects,
        info=dataset.as_json(),
    )
    return workshop.keep(step, record), True


def _checked(workshop: Workshop, adapter: Adapter) -> TrainingDataset:
    folder = workshop.data.datasets_root / str(adapter.dataset)
    return check_dataset(folder, _dataset_label(adapter), workshop.base_model_of_adapter(adapter).name)


def _insist_unchanged(workshop: Workshop, adapter: Adapter, dataset: Step) -> None:
    """Raises DatasetError when the folder is no longer what this run is about: its work would bear a wrong name."""
    label = _dataset_label(adapter)
    now = fingerprint_folder(workshop.data.datasets_root / str(adapter.dataset), label, workshop.files.hash_of)
    if dataset_inputs(now) != dataset.inputs:
        raise DatasetError(Fault(label, "", "changed while it was being read", "run again; nothing was kept"))


def make_mlx_adapter(workshop: Workshop, adapter: Adapter, log: logging.Logger) -> tuple[Record, bool]:
    """Train the adapter, unless the store has it."""
    step, states = _ready(workshop, adapter, "mlx_adapter")
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    dataset = _checked(workshop, adapter)
    # the first step follows the reading of all pictures: from there on the folder may change
    insist = at_first(lambda: _insist_unchanged(workshop, adapter, states["training_dataset"]))
    on_progress = both(insist, both(log_progress(log), show_progress(adapter.key)))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "final_adapters.safetensors"
        result = train_adapter(dataset, workshop.engines.trainer(), output, on_progress)
        version = tensors_data_version(output)
        objects = {
            "adapter": workshop.store.put_file(output, ".safetensors"),
            "loss_curve": workshop.store.put_bytes(draw_loss_curve(result.losses, adapter.key), ".png"),
        }
    tail = result.losses[-max(1, len(result.losses) // 10) :]
    info = {
        "pairs": len(dataset.images),
        "iterations": len(result.losses),
        "tensors": result.tensors,
        "loss_first": result.losses[0],
        "loss_last_tenth": sum(tail) / len(tail),
        "wall_s": round(result.wall_s, 2),
        "encode_s": round(result.encode_s, 2),
        "peak_memory_bytes": result.peak_memory_bytes,
        "chip": workshop.engines.chip,
    }
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=version,
        objects=objects,
        info=info,
    )
    return workshop.keep(step, record), True


def expected_training_s(workshop: Workshop, adapter: Adapter) -> float | None:
    """How long training should take by this adapter's last one, in seconds; None where it never was trained.

    Scaled by the number of pictures that pass through the model: iterations times batch times accumulation.
    """
    last = workshop.store.read_current(asset_name(adapter, "mlx_adapter"))
    record = workshop.store.read_record("mlx_adapter", last[0]) if last else None
    if record is None or "wall_s" not in record.info:
        return None
    sizes = ("iterations", "batch_size", "grad_accumulation")
    then = math.prod(record.inputs[f"recipe.{name}"] for name in sizes)
    now = math.prod(getattr(_recipe(workshop, adapter), name) for name in sizes)
    encode_s = record.info["encode_s"]
    return encode_s + (record.info["wall_s"] - encode_s) * now / then


def make_mflux_adapter(workshop: Workshop, adapter: Adapter) -> tuple[Record, bool]:
    """Remap the adapter (or take an external file as it is), unless the store has it."""
    step, states = _ready(workshop, adapter, "mflux_adapter")
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    upstream = states.get("mlx_adapter")
    if upstream is not None and upstream.record is not None:
        source = workshop.store.path_of(upstream.record.objects["adapter"])
    else:
        source = _external_file(workshop, adapter)
    info: dict[str, Any] = {"taken": "as it is"}
    if _needs_remap(workshop, adapter):
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "adapter.safetensors"
            base_model = base_model_for(workshop, adapter) if adapter.dataset is not None else None
            info = remap_adapter(source, output, _keymap(workshop), base_model).as_json()
            stored, version = workshop.store.put_file(output, ".safetensors"), info["data_version"]
    else:
        stored, version = workshop.store.put_file(source, ".safetensors"), tensors_data_version(source)
    if upstream is None and tensors_data_version(source) != step.inputs["source"]:
        problem = "changed while it was being read"
        raise AdapterError(Fault(f"content/lora/{adapter.file}", "", problem, "run again; nothing was kept"))
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=version,
        objects={"adapter": stored},
        info=info,
    )
    return workshop.keep(step, record), True


def make_verification(workshop: Workshop, adapter: Adapter, log: logging.Logger) -> tuple[Record, bool]:
    """Verify the adapter, unless the store has the verdicts. A failed verdict is a record like any other."""
    step, states = _ready(workshop, adapter, "verification")
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    adapter_record = states["mflux_adapter"].record
    assert adapter_record is not None
    report = verify_adapter(
        adapter.key,
        AdapterUse(workshop.store.path_of(adapter_record.objects["adapter"]), 1.0),
        adapter_record.data_version,
        adapter.trigger,
        base_model_for(workshop, adapter),
        adapter.tier,
        workshop.engines.renderer(),
        _verify_prompts(workshop, adapter),
        workshop.settings.thresholds,
        lambda done, total: log.debug("verification picture %d of %d", done, total),
    )
    objects = {
        "report": workshop.store.put_bytes(write_markdown(report).encode(), ".md"),
        "report_json": workshop.store.put_bytes(canonical_json(report.as_json()).encode(), ".json"),
    }
    sheet = draw_report_sheet(report)
    if sheet is not None:
        objects["sheet"] = workshop.store.put_bytes(sheet, ".png")
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=report.data_version,
        objects=objects,
        info=report.as_json(),
    )
    return workshop.keep(step, record), True


def promote(workshop: Workshop, adapter: Adapter, by: str | None = None) -> tuple[Record, bool]:
    """Promote the adapter in somebody's name; without one only where `sq.yaml` says `promotion: automatic`.

    One that was promoted before, and replaced since, needs nobody: it is put back, and returned with False.
    Raises VerificationError when it did not pass, or nobody is named.
    """
    step, states = _ready_to_promote(workshop, adapter)
    if step.record is not None:
        if step.status == "fresh":
            return step.record, False
        by = by or step.record.info["promoted_by"]
    if by is None and workshop.settings.promotion != "automatic":
        raise VerificationError([Fault(step.asset, "", reason, "") for reason in step.reasons])
    adapter_record, verification = states["mflux_adapter"].record, states["verification"].record
    assert adapter_record is not None
    assert verification is not None
    stored = adapter_record.objects["adapter"]
    promotion = Promotion(
        adapter=adapter,
        adapter_version=adapter_record.data_version,
        verdicts=tuple(Verdict(**verdict) for verdict in verification.info["verdicts"]),
        promoted_by=by or AUTOMATIC,
        provenance=_provenance(states, verification),
    )
    promote_adapter(workshop.data, workshop.store.path_of(stored), promotion)
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=adapter_record.data_version,
        objects={"adapter": stored},
        info={"promoted_by": promotion.promoted_by, "file": adapter.file},
    )
    return workshop.keep(step, record), step.record is None


def _ready_to_promote(workshop: Workshop, adapter: Adapter) -> tuple[Step, dict[str, Step]]:
    states = survey_adapter(workshop, adapter)
    step = states["promoted_adapter"]
    if step.status == "pending":
        fault = Fault(step.asset, "", "; ".join(problems_of(step)), "bring it up to date with `sq-pipeline run`")
        raise VerificationError(fault)
    if step.status == "blocked":
        raise VerificationError(Fault(step.asset, "", "; ".join(step.reasons), "an adapter that failed is never used"))
    return step, states


def _provenance(states: dict[str, Step], verification: Record) -> dict[str, Any]:
    made_from: dict[str, Any] = {"verification_report": verification.objects["report"].sha256}
    for name in ("training_dataset", "mlx_adapter", "mflux_adapter"):
        state = states.get(name)
        if state is not None and state.record is not None:
            made_from[name] = state.record.data_version
    mflux = states["mflux_adapter"].record
    if mflux is not None and "keymap" in mflux.info:
        made_from["keymap"] = f"{mflux.info['keymap']} {mflux.info['keymap_version']} {mflux.info['rules_hash']}"
    return made_from


def promoted_record(workshop: Workshop, adapter: Adapter) -> Record | None:
    """The promoted adapter that pictures stand on, which may be older than what the line would make now.

    The store knows it; where the store was deleted, the manifest and the file it names tell the same.
    """
    asset = asset_name(adapter, "promoted_adapter")
    current = workshop.store.read_current(asset)
    if current is not None:
        record = workshop.store.read_record("promoted_adapter", current[0])
        if record is not None:
            return record
    return workshop.remember(("promoted", adapter.key), lambda: _promoted_by_manifest(workshop, adapter))


def _promoted_by_manifest(workshop: Workshop, adapter: Adapter) -> Record | None:
    entry = read_manifest(workshop.data, adapter.genre).get(adapter.name)
    path = workshop.data.lora_root / adapter.file
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
        objects={"adapter": workshop.store.put_file(path, ".safetensors")},
        info={"promoted_by": entry.get("promoted_by"), "file": adapter.file},
    )


def verdict_summary(record: Record) -> dict[str, Any]:
    """A verification record's verdicts as a flat mapping: check → outcome and detail."""
    return {v["check"]: f"{v['outcome']}: {v['detail']}" for v in record.info["verdicts"]}
