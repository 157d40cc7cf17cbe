"""Making the steps of one adapter: dataset, MLX adapter, mflux adapter, verification, promotion.

Each `make_*` takes up what the store has and does the work only where it has not. What is to do: `adapter_survey`.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

from sq_pipeline.core.content import Adapter
from sq_pipeline.core.errors import AdapterError, DatasetError, Fault, VerificationError
from sq_pipeline.core.fingerprints import canonical_json
from sq_pipeline.core.lineage import (
    dataset_inputs,
)
from sq_pipeline.core.protocols import AdapterUse
from sq_pipeline.core.verdicts import Verdict
from sq_pipeline.stages.adapter_survey import (
    base_model_for,
    dataset_label,
    external_file,
    keymap_of,
    reading_keymap_of,
    source_keymap_of,
    survey_adapter,
    verify_prompts_of,
)
from sq_pipeline.stages.chain import problems_of
from sq_pipeline.stages.checkpoint_report import describe_choice
from sq_pipeline.stages.dataset import TrainingDataset, check_dataset, fingerprint_folder
from sq_pipeline.stages.fidelity import measure_fidelity
from sq_pipeline.stages.promote import AUTOMATIC, Promotion, promote_adapter
from sq_pipeline.stages.remap import remap_adapter
from sq_pipeline.stages.verify import VerifyRequest, verify_adapter
from sq_pipeline.stages.verify_report import draw_report_sheet, write_markdown
from sq_pipeline.stages.workshop import Step, Workshop
from sq_pipeline.storage.store import Record
from sq_pipeline.storage.tensor_survey import tensors_data_version

_LAYERS_ON_RECORD = 10  # the worst; all are in the report


def ready(workshop: Workshop, adapter: Adapter, name: str) -> tuple[Step, dict[str, Step]]:
    """The step, with everything upstream there; raises AdapterError otherwise."""
    states = survey_adapter(workshop, adapter)
    step = states[name]
    if step.status in ("pending", "blocked") and step.record is None:
        raise AdapterError([Fault(step.asset, "", problem, "") for problem in problems_of(step)])
    return step, states


def make_dataset(workshop: Workshop, adapter: Adapter) -> tuple[Record, bool]:
    """Check the dataset. Returns the record, and whether work was done (False: the store had it)."""
    step, _ = ready(workshop, adapter, "training_dataset")
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    dataset = checked_dataset(workshop, adapter)
    insist_unchanged(workshop, adapter, step)
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


def checked_dataset(workshop: Workshop, adapter: Adapter) -> TrainingDataset:
    folder = workshop.data.datasets_root / str(adapter.dataset)
    return check_dataset(folder, dataset_label(adapter), workshop.base_model_of_adapter(adapter).name)


def insist_unchanged(workshop: Workshop, adapter: Adapter, dataset: Step) -> None:
    """Raises DatasetError when the folder is no longer what this run is about: its work would bear a wrong name."""
    label = dataset_label(adapter)
    now = fingerprint_folder(workshop.data.datasets_root / str(adapter.dataset), label, workshop.files.hash_of)
    if dataset_inputs(now) != dataset.inputs:
        raise DatasetError(Fault(label, "", "changed while it was being read", "run again; nothing was kept"))


def make_mflux_adapter(workshop: Workshop, adapter: Adapter) -> tuple[Record, bool]:
    """Remap the adapter (or take an external file as it is), unless the store has it."""
    step, states = ready(workshop, adapter, "mflux_adapter")
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    source = _source_file(workshop, adapter, states)
    info: dict[str, Any] = {"taken": "as it is"}
    reading = reading_keymap_of(workshop, adapter)
    if reading is not None:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "adapter.safetensors"
            base_model = base_model_for(workshop, adapter) if adapter.dataset is not None else None
            info = remap_adapter(source, output, keymap_of(workshop), base_model, reading=reading).as_json()
            stored, version = workshop.store.put_file(output, ".safetensors"), tensors_data_version(output)
    else:
        stored, version = workshop.store.put_file(source, ".safetensors"), tensors_data_version(source)
    _insist_same_source(adapter, source, step)
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=version,
        objects={"adapter": stored},
        info=info,
    )
    return workshop.keep(step, record), True


def _source_file(workshop: Workshop, adapter: Adapter, states: dict[str, Step]) -> Path:
    """The adapter before the remap: the chosen checkpoint of its training, or the file from elsewhere."""
    upstream = states.get("chosen_checkpoint")
    if upstream is None or upstream.record is None:
        return external_file(workshop, adapter)
    return workshop.store.path_of(upstream.record.objects["adapter"])


def _insist_same_source(adapter: Adapter, source: Path, step: Step) -> None:
    """Raises AdapterError when a file from elsewhere is no longer what the step is about."""
    if adapter.dataset is None and tensors_data_version(source) != step.inputs["source"]:
        problem = "changed while it was being read"
        raise AdapterError(Fault(f"content/lora/{adapter.file}", "", problem, "run again; nothing was kept"))


def make_verification(workshop: Workshop, adapter: Adapter, log: logging.Logger) -> tuple[Record, bool]:
    """Verify the adapter, unless the store has the verdicts. A failed verdict is a record like any other."""
    step, states = ready(workshop, adapter, "verification")
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    adapter_record = states["mflux_adapter"].record
    assert adapter_record is not None
    use = AdapterUse(workshop.store.path_of(adapter_record.objects["adapter"]), 1.0)
    source, base_model = _source_file(workshop, adapter, states), base_model_for(workshop, adapter)
    meter, reading = workshop.engines.fidelity_meter(), source_keymap_of(workshop, adapter)
    request = VerifyRequest(
        adapter=adapter.key,
        use=use,
        adapter_version=adapter_record.data_version,
        trigger=adapter.trigger,
        base_model=base_model,
        tier=adapter.tier,
        prompts=verify_prompts_of(workshop, adapter),
        thresholds=workshop.settings.thresholds,
    )
    report = verify_adapter(
        request,
        lambda: measure_fidelity(use, source, base_model, meter, reading),
        workshop.engines.renderer(),
        lambda done, total: log.debug("verification picture %d of %d", done, total),
    )
    _insist_same_source(adapter, source, step)
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
        info=report.as_json(_LAYERS_ON_RECORD),
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
    chosen = states.get("chosen_checkpoint")
    if chosen is not None and chosen.record is not None:
        made_from["checkpoint"] = describe_choice(chosen.record.info)
    mflux = states["mflux_adapter"].record
    if mflux is not None and "keymap" in mflux.info:
        made_from["keymap"] = f"{mflux.info['keymap']} {mflux.info['keymap_version']} {mflux.info['rules_hash']}"
    return made_from


def verdict_summary(record: Record) -> dict[str, Any]:
    """A verification record's verdicts as a flat mapping: check → outcome and detail."""
    return {v["check"]: f"{v['outcome']}: {v['detail']}" for v in record.info["verdicts"]}
