"""The asset `verification`: the gate's verdict over an mflux adapter. How it judges: `verification.verify`."""

from typing import Any

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.fingerprints import canonical_json
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, AssetCheck, Making, Steps, made
from sq_pipeline.pipeline.adapters.facts import (
    base_model_for,
    family_names_of,
    remarks_of,
    source_keymap_of,
    verify_prompts_of,
)
from sq_pipeline.pipeline.adapters.source_file import insist_same_source, source_file, source_version
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, verification_inputs
from sq_pipeline.pipeline.shown import ShownPicture, ShownText
from sq_pipeline.pipeline.store import Record
from sq_pipeline.verification.measure_fidelity import measure_fidelity
from sq_pipeline.verification.prompts import verify_prompt_values
from sq_pipeline.verification.report import draw_report_sheet, write_markdown
from sq_pipeline.verification.thresholds import threshold_values
from sq_pipeline.verification.verify import VerifyRequest, verify_adapter

_LAYERS_ON_RECORD = 10  # the worst; all are in the report


def _inputs(context: Context, adapter: Adapter, steps: Steps) -> Inputs:
    base_model = base_model_for(context, adapter)
    return verification_inputs(
        made(steps, "mflux_adapter").data_version,
        source_version(context, adapter, steps),
        source_keymap_of(context, adapter) or family_names_of(base_model),
        adapter.trigger,
        verify_prompt_values(verify_prompts_of(context, adapter)),
        threshold_values(context.settings.thresholds),
        base_model,
        context.weights_hash(base_model),
        adapter.tier,
        context.engines.renderer_versions,
    )


def _make(making: Making) -> Record:
    """Verify the adapter. A failed verdict is a record like any other."""
    context, adapter = making.context, making.adapter
    remapped = making.upstream("mflux_adapter")
    use = AdapterUse(context.adapter_file(remapped.objects["adapter"]), 1.0)
    source, base_model = source_file(context, adapter, making.steps), base_model_for(context, adapter)
    meter, reading = context.engines.fidelity_meter(), source_keymap_of(context, adapter)
    request = VerifyRequest(
        adapter=adapter.key,
        use=use,
        adapter_version=remapped.data_version,
        trigger=adapter.trigger,
        base_model=base_model,
        tier=adapter.tier,
        prompts=verify_prompts_of(context, adapter),
        thresholds=context.settings.thresholds,
        remarks=remarks_of(context, adapter),
    )
    report = verify_adapter(
        request,
        lambda: measure_fidelity(use, source, base_model, meter, reading),
        context.engines.renderer(),
        lambda done, total: making.log.debug("verification picture %d of %d", done, total),
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


def _verdicts(record: Record) -> dict[str, Any]:
    return {v["check"]: f"{v['outcome']}: {v['detail']}" for v in record.info["verdicts"]}


ASSET = AdapterAsset(
    name="verification",
    upstream=("mflux_adapter", "chosen_checkpoint"),  # the second is what the remapped adapter is held against
    sources=("verify_prompts", "base_model", "sq_yaml"),
    inputs=_inputs,
    make=_make,
    description=lambda adapter: f"Is all of {adapter.name} applied, does it change pictures, and when it is called?",
    figures=lambda _: {},
    shows=(ShownText("report"), ShownPicture("sheet", "verification", 480)),
    check=AssetCheck("verdicts", lambda record: record.info["has_passed"], _verdicts),
    uses_gpu=True,
)
