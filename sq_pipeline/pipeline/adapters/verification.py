"""The asset `verification`: the gate's verdict over an mflux adapter. How it judges: `verification.verify`."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.errors import ContentError
from sq_pipeline.common.fingerprints import canonical_json, fingerprint
from sq_pipeline.content.records import Adapter
from sq_pipeline.pictures.png_file import encode_png
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, AssetCheck, Making, Steps, made
from sq_pipeline.pipeline.adapters.facts import (
    asset_name,
    base_model_for,
    family_names_of,
    promoted_record,
    recipe_of,
    remarks_of,
    source_keymap_of,
    verify_prompts_of,
)
from sq_pipeline.pipeline.adapters.gate_settings import (
    has_own_limits,
    limits_of,
    overrides_of,
    reference_label,
    reference_of,
)
from sq_pipeline.pipeline.adapters.source_file import insist_same_source, source_file, source_version
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, verification_inputs
from sq_pipeline.pipeline.kept_pictures import KeptPictures
from sq_pipeline.pipeline.shown import ShownPicture, ShownText
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.dataset import fingerprint_folder
from sq_pipeline.verification.checks.table import most_pictures
from sq_pipeline.verification.gate_limits import calibration_values
from sq_pipeline.verification.measure_fidelity import measure_fidelity
from sq_pipeline.verification.measures.features import Pixels
from sq_pipeline.verification.null_file import open_with_null
from sq_pipeline.verification.prompts import insist_control_word, insist_trigger_is_read, verify_prompt_values
from sq_pipeline.verification.report import draw_report_sheet, write_markdown
from sq_pipeline.verification.thresholds import threshold_values
from sq_pipeline.verification.verify import ChosenCheckpoint, InUse, VerifyRequest, verify_adapter

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
    limits = calibration_values(limits_of(context, adapter), overrides_of(context, adapter))
    required = {"trigger_required": True} if recipe_of(context, adapter).trigger_required else {}
    return inputs({"reference": _reference_version(context, adapter, steps), **limits, **required})


def _reference_version(context: Context, adapter: Adapter, steps: Steps) -> str:
    """What its style is held against. Raises DatasetError, ContentError."""
    if adapter.dataset is not None:
        return made(steps, "training_dataset").data_version
    if adapter.reference is None:
        return "none"
    folder, label = context.data.datasets_root / adapter.reference, reference_label(adapter)
    key = ("reference", adapter.key)
    return context.remember(key, lambda: fingerprint(fingerprint_folder(folder, label, context.files.hash_of)))


def _is_set(context: Context, adapter: Adapter) -> bool:
    return has_own_limits(context, adapter) or (adapter.dataset is None and adapter.reference is not None)


def _in_use(making: Making) -> InUse | None:
    """The promoted version, as its own verification saw it; None where it is this one, or was judged by nobody here."""
    context, adapter = making.context, making.adapter
    promoted, last = promoted_record(context, adapter), context.store.read_current(making.step.asset)
    record = context.store.read_record("verification", last[0]) if last is not None else None
    if promoted is None or record is None or promoted.data_version == making.upstream("mflux_adapter").data_version:
        return None
    if record.info.get("adapter_version") != promoted.data_version:
        return None
    figures = {verdict["check"]: verdict["figure"] for verdict in record.info["verdicts"]}
    asked = [prompt.model_dump() for prompt in verify_prompts_of(context, adapter).prompts]
    strip = record.objects.get("pictures") if record.info["prompts"] == asked else None
    pictures = () if strip is None else _unstack(context.store.read_bytes(strip), len(asked))
    return InUse(promoted.data_version, figures, pictures)


def _stack(pictures: Sequence[Pixels]) -> bytes:
    """Pictures of one size as one PNG, from top to bottom."""
    return encode_png(np.concatenate(pictures), {})


def _unstack(png: bytes, count: int) -> tuple[Pixels, ...]:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return tuple(np.split(pixels, count)) if len(pixels) % count == 0 else ()


def _checkpoint(making: Making) -> ChosenCheckpoint | None:
    if making.adapter.dataset is None:
        return None
    chosen = making.upstream("chosen_checkpoint").info
    if not chosen.get("is_scored"):
        return None
    return ChosenCheckpoint(chosen["iteration"], chosen["iteration"] in chosen["overtrained"])


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
            reference=reference_of(context, adapter, making.steps),
            source=opened,
            null_file=null_file,
            remarks=remarks_of(context, adapter),
            checkpoint=_checkpoint(making),
            in_use=_in_use(making),
        )
        report = verify_adapter(
            request,
            lambda: measure_fidelity(use, source, base_model, meter, reading),
            KeptPictures(context, context.engines.renderer(), keeps_styled=True),
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
    if report.pictures is not None:
        objects["pictures"] = context.store.put_bytes(_stack(report.pictures.styled), ".png")
    return making.step.as_record(report.data_version, objects, report.as_json(_LAYERS_ON_RECORD))


def pictures_at_most(context: Context, adapter: Adapter, *, has_choice: bool) -> int:
    """How many pictures its verification renders with the adapter, if it is a clear case; 0 where nobody can tell.

    `has_choice`: its checkpoint was chosen by pictures, which are not rendered again.
    """
    try:
        prompts = verify_prompts_of(context, adapter).prompts
    except ContentError:
        return 0  # its step says why
    has_reference = adapter.dataset is not None or adapter.reference is not None
    most = most_pictures(len(prompts), has_trigger=adapter.trigger is not None, has_reference=has_reference)
    if not has_choice:
        return most
    is_required = recipe_of(context, adapter).trigger_required and adapter.trigger is not None
    return most - len(prompts) * (2 if is_required else 1)


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
    names = ("check", "outcome", "figure", "threshold", "detail")
    table = [{name: verdict[name] for name in names} for verdict in info["verdicts"]]
    told = {"verdict": info["sentence"]} if "sentence" in info else {}
    return {**told, **numbers, "checks": table}


def _sentence(record: Record) -> str:
    return str(record.info.get("sentence", ""))


ASSET = AdapterAsset(
    name="verification",
    # the second is what the remapped adapter is held against, the third has the pictures of its style
    upstream=("mflux_adapter", "chosen_checkpoint", "training_dataset"),
    sources=("verify_prompts", "base_model", "gate", "sq_yaml"),
    inputs=_inputs,
    make=_make,
    description=lambda adapter: (
        f"Is all of {adapter.name} applied, and does it change pictures as its dataset says? *Checks* has the verdict "
        "with the pictures that it was made on."
    ),
    tags=("gate",),
    figures=_figures,
    shows=(ShownText("report"), ShownPicture("sheet", "verification", 480)),
    check=AssetCheck("verdicts", lambda record: record.info["has_passed"], _verdicts, sentence=_sentence),
    uses_gpu=True,
)
