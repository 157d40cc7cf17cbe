"""The asset `verification`: the gate's verdict over an mflux adapter. How it judges: `verification.verify`."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.fingerprints import canonical_json, fingerprint
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, AssetCheck, Making, Steps, made
from sq_pipeline.pipeline.adapters.facts import (
    asset_name,
    base_model_for,
    dataset_label,
    family_names_of,
    recipe_of,
    remarks_of,
    source_keymap_of,
    verify_prompts_of,
)
from sq_pipeline.pipeline.adapters.source_file import insist_same_source, source_file, source_version
from sq_pipeline.pipeline.base_pictures import BasePictures
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, verification_inputs
from sq_pipeline.pipeline.reference_pictures import as_reference
from sq_pipeline.pipeline.shown import ShownPicture, ShownText
from sq_pipeline.pipeline.store import Record
from sq_pipeline.verification.gate_files import load_calibration, load_shipped
from sq_pipeline.verification.gate_limits import (
    GateCalibration,
    GateOverrides,
    Limits,
    calibration_values,
    limits_for,
)
from sq_pipeline.verification.measure_fidelity import measure_fidelity
from sq_pipeline.verification.null_file import open_with_null
from sq_pipeline.verification.prompts import insist_control_word, insist_trigger_is_read, verify_prompt_values
from sq_pipeline.verification.reference import Reference
from sq_pipeline.verification.report import draw_report_sheet, write_markdown
from sq_pipeline.verification.thresholds import threshold_values
from sq_pipeline.verification.verify import VerifyRequest, verify_adapter

_LAYERS_ON_RECORD = 10  # the worst; all are in the report


def _inputs(context: Context, adapter: Adapter, steps: Steps) -> Inputs:
    """What the gate of before has judged stands, until anything of it changes: an upgrade verifies nothing again."""
    base_model, prompts = base_model_for(context, adapter), verify_prompts_of(context, adapter)
    insist_control_word(prompts, adapter.tier, adapter.trigger)
    insist_trigger_is_read(adapter.trigger, adapter.key, lambda: context.token_counter(base_model))

    def inputs(gate: Mapping[str, Any] | None) -> Inputs:
        return verification_inputs(
            made(steps, "mflux_adapter").data_version,
            source_version(context, adapter, steps),
            source_keymap_of(context, adapter) or family_names_of(base_model),
            adapter.trigger,
            verify_prompt_values(prompts),
            threshold_values(context.settings.thresholds),
            base_model,
            context.weights_hash(base_model),
            adapter.tier,
            context.engines.renderer_versions,
            gate,
        )

    before, current = inputs(None), context.store.read_current_fingerprint(asset_name(adapter, "verification"))
    if current == fingerprint(before) and not _is_set(context, adapter):
        return before
    reference = made(steps, "training_dataset").data_version if adapter.dataset is not None else "none"
    limits = calibration_values(limits_of(context, adapter), overrides_of(context, adapter))
    required = {"trigger_required": True} if recipe_of(context, adapter).trigger_required else {}
    return inputs({"reference": reference, **limits, **required})


def _is_set(context: Context, adapter: Adapter) -> bool:
    """True where a person asks something that the gate of before could not be asked."""
    is_own = _calibration_of(context, adapter) != load_shipped(base_model_for(context, adapter).name)
    is_asked = recipe_of(context, adapter).trigger_required or overrides_of(context, adapter) != GateOverrides()
    return is_own or is_asked


def overrides_of(context: Context, adapter: Adapter) -> GateOverrides:
    """A person's limits for an adapter: for its tier, then for itself."""
    return context.settings.thresholds.overrides_for(adapter.tier, adapter.key)


def limits_of(context: Context, adapter: Adapter) -> Limits:
    """The limits that it is judged by. Raises BaseModelError, ContentError."""
    weights_hash = context.weights_hash(base_model_for(context, adapter))
    return limits_for(_calibration_of(context, adapter), weights_hash, adapter.tier, overrides_of(context, adapter))


def _calibration_of(context: Context, adapter: Adapter) -> GateCalibration | None:
    name = base_model_for(context, adapter).name
    return context.remember(("gate", name), lambda: load_calibration(context.data, name))


def _reference_of(context: Context, adapter: Adapter, steps: Steps) -> Reference | None:
    """An adapter's own dataset, as it was checked; None for an adapter from elsewhere."""
    if adapter.dataset is None:
        return None
    folder = context.data.datasets_root / adapter.dataset
    index = context.store.read_text(made(steps, "training_dataset").objects["index"])
    pairs = [json.loads(line) for line in index.splitlines()]
    paths, captions = [folder / pair["image"] for pair in pairs], [str(pair["prompt"]) for pair in pairs]
    return as_reference(
        dataset_label(adapter), paths, captions, recipe_of(context, adapter), base_model_for(context, adapter)
    )


def _make(making: Making) -> Record:
    """Verify the adapter. A failed verdict is a record like any other."""
    context, adapter = making.context, making.adapter
    remapped = making.upstream("mflux_adapter")
    use = AdapterUse(context.adapter_file(remapped.objects["adapter"]), 1.0)
    source, base_model = source_file(context, adapter, making.steps), base_model_for(context, adapter)
    meter, reading = context.engines.fidelity_meter(), source_keymap_of(context, adapter)
    with TemporaryDirectory() as folder:
        opened, null_file = open_with_null(use.path, base_model, Path(folder))
        request = VerifyRequest(
            adapter=adapter.key,
            use=use,
            adapter_version=remapped.data_version,
            trigger=adapter.trigger,
            base_model=base_model,
            tier=adapter.tier,
            prompts=verify_prompts_of(context, adapter),
            thresholds=context.settings.thresholds,
            limits=limits_of(context, adapter),
            reference=_reference_of(context, adapter, making.steps),
            source=opened,
            null_file=null_file,
            remarks=remarks_of(context, adapter),
        )
        report = verify_adapter(
            request,
            lambda: measure_fidelity(use, source, base_model, meter, reading),
            BasePictures(context, context.engines.renderer()),
            context.engines.loss_meter(),
            lambda done: making.log.debug("verification picture %d", done),
        )
    insist_same_source(adapter, source, making.step)
    objects = {
        "report": context.store.put_bytes(write_markdown(report).encode(), ".md"),
        "report_json": context.store.put_bytes(canonical_json(report.as_json()).encode(), ".json"),
    }
    sheet = draw_report_sheet(report)
    if sheet is not None:
        objects["sheet"] = context.store.put_bytes(sheet, ".png")
    return making.step.as_record(report.data_version, objects, report.as_json(_LAYERS_ON_RECORD))


def sound_scales(record: Record | None) -> tuple[float, float] | None:
    """The least and largest scale at which a verification found the adapter sound; None where it did not look."""
    for verdict in record.info.get("verdicts", ()) if record is not None else ():
        if found := verdict.get("sound_scales"):
            return float(found[0]), float(found[1])
    return None


def _verdicts(record: Record) -> dict[str, Any]:
    return {v["check"]: f"{v['outcome']}: {v['detail']}" for v in record.info["verdicts"]}


def _figures(record: Record) -> dict[str, Any]:
    """The verdict in a sentence, and each check's number, which the pages plot over time."""
    info = record.info
    numbers = {v["check"]: v["figure"] for v in info["verdicts"] if v["figure"] is not None}
    return {**({"verdict": info["sentence"]} if "sentence" in info else {}), **numbers}


ASSET = AdapterAsset(
    name="verification",
    # the second is what the remapped adapter is held against, the third has the pictures of its style
    upstream=("mflux_adapter", "chosen_checkpoint", "training_dataset"),
    sources=("verify_prompts", "base_model", "sq_yaml"),
    inputs=_inputs,
    make=_make,
    description=lambda adapter: f"Is all of {adapter.name} applied, does it change pictures, and when it is called?",
    figures=_figures,
    shows=(ShownText("report"), ShownPicture("sheet", "verification", 480)),
    check=AssetCheck("verdicts", lambda record: record.info["has_passed"], _verdicts),
    uses_gpu=True,
)
