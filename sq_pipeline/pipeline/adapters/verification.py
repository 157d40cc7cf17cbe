"""The asset `verification`: the gate's verdict over an mflux adapter. How it judges: `verification.verify`."""

import logging
from typing import Any

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.fingerprints import canonical_json
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_status import base_model_for, ready, source_keymap_of, verify_prompts_of
from sq_pipeline.pipeline.adapters.mflux_adapter import _insist_same_source, _source_file
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record
from sq_pipeline.verification.measure_fidelity import measure_fidelity
from sq_pipeline.verification.report import draw_report_sheet, write_markdown
from sq_pipeline.verification.verify import VerifyRequest, verify_adapter

_LAYERS_ON_RECORD = 10  # the worst; all are in the report


def make_verification(context: Context, adapter: Adapter, log: logging.Logger) -> tuple[Record, bool]:
    """Verify the adapter, unless the store has the verdicts. A failed verdict is a record like any other."""
    step, states = ready(context, adapter, "verification")
    if step.record is not None:
        return context.reuse(step, step.record), False
    adapter_record = states["mflux_adapter"].record
    assert adapter_record is not None
    use = AdapterUse(context.store.path_of(adapter_record.objects["adapter"]), 1.0)
    source, base_model = _source_file(context, adapter, states), base_model_for(context, adapter)
    meter, reading = context.engines.fidelity_meter(), source_keymap_of(context, adapter)
    request = VerifyRequest(
        adapter=adapter.key,
        use=use,
        adapter_version=adapter_record.data_version,
        trigger=adapter.trigger,
        base_model=base_model,
        tier=adapter.tier,
        prompts=verify_prompts_of(context, adapter),
        thresholds=context.settings.thresholds,
    )
    report = verify_adapter(
        request,
        lambda: measure_fidelity(use, source, base_model, meter, reading),
        context.engines.renderer(),
        lambda done, total: log.debug("verification picture %d of %d", done, total),
    )
    _insist_same_source(adapter, source, step)
    objects = {
        "report": context.store.put_bytes(write_markdown(report).encode(), ".md"),
        "report_json": context.store.put_bytes(canonical_json(report.as_json()).encode(), ".json"),
    }
    sheet = draw_report_sheet(report)
    if sheet is not None:
        objects["sheet"] = context.store.put_bytes(sheet, ".png")
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=report.data_version,
        objects=objects,
        info=report.as_json(_LAYERS_ON_RECORD),
    )
    return context.keep(step, record), True


def verdict_summary(record: Record) -> dict[str, Any]:
    """A verification record's verdicts as a flat mapping: check → outcome and detail."""
    return {v["check"]: f"{v['outcome']}: {v['detail']}" for v in record.info["verdicts"]}
