"""Jobs over adapters: training what is due, verifying one, putting a version of one into use."""

from collections.abc import Iterable, Mapping
from typing import Any

from dagster import AssetKey, Config, MetadataValue
from pydantic import Field

from sq_pipeline.common.fingerprints import short
from sq_pipeline.common.locks import hold_run_lock
from sq_pipeline.common.processes.awake import kept_awake
from sq_pipeline.common.processes.deaths import told_of_death
from sq_pipeline.content.records import Adapter, Catalog
from sq_pipeline.defs.adapter_assets import adapter_key, shown_of
from sq_pipeline.defs.jobs.asset_runs import AssetRunError, materialize
from sq_pipeline.defs.jobs.job import Asked, FormJob, Shown
from sq_pipeline.defs.shown import table_of
from sq_pipeline.pipeline.adapters.adapter_asset import PersonsWord
from sq_pipeline.pipeline.adapters.adapter_assets import ADAPTER_ASSETS
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.facts import asset_name
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.promotions.sign_offs import in_use
from sq_pipeline.pipeline.store import Record

_SAID = PersonsWord.model_fields


class TrainTonight(Config):
    """The form of `train_tonight`."""

    adapter: str = Field(
        default="", description="Only this adapter, as NAME or GENRE/NAME. Empty for all whose training is due."
    )


class VerifyAdapter(Config):
    """The form of `verify_an_adapter`."""

    adapter: str = Field(description="The adapter, as NAME or GENRE/NAME.")


class PromoteAdapter(Config):
    """The form of `promote_an_adapter`."""

    adapter: str = Field(description="The adapter, as NAME or GENRE/NAME.")
    by: str = Field(default="", description="Who says so: your name. Nothing is promoted without.")
    because: str = Field(default="", description="Why. Needed only where a check failed.")
    roll_back_to: str = Field(
        default="", description=f"To put an earlier version back in use: {_SAID['roll_back_to'].description}"
    )


def _train(asked: Asked, form: TrainTonight) -> Shown:
    """One after the other; what one fails of hinders no other. Each goes on through the gate, and to its promotion."""
    rows: list[dict[str, Any]] = []
    failed: list[AssetRunError] = []
    with hold_run_lock(asked.data, asked.say), told_of_death("the run", asked.data.death_note, asked.say):
        pipeline = Context(asked.data, asked.make_engines(asked.data), looks_ahead=False)
        named = form.adapter.strip()
        adapters = [pipeline.adapter(named)] if named else list(pipeline.catalog.adapters.values())
        due = [adapter for adapter in adapters if _is_to_train(adapter_steps_of(pipeline, adapter))]
        with kept_awake():
            for adapter in due:
                asked.say(f"{adapter.key} is trained")
                steps = adapter_steps_of(pipeline, adapter)
                try:
                    run = materialize(asked, pipeline, [step.asset for step in steps.values() if step.is_to_do])
                except AssetRunError as error:
                    failed.append(error)
                    continue
                rows.append(_trained(adapter, adapter_steps_of(pipeline, adapter), run))
    if failed:
        raise AssetRunError(fault for error in failed for fault in error.faults)
    nothing = "no training is due" if not named else f"the training of {named} is not due: it is up to date"
    return {"trained": len(rows), "adapters": table_of(rows)} if rows else {"trained": 0, "why": nothing}


def _is_to_train(steps: Mapping[str, Step]) -> bool:
    step = steps.get("mlx_adapter")
    return step is not None and step.is_to_do and step.record is None


def _trained(adapter: Adapter, steps: Mapping[str, Step], run: str) -> dict[str, Any]:
    trained, last = steps["mlx_adapter"].record, steps["promoted_adapter"]
    losses = trained.info.get("validation_losses", []) if trained else []
    return {
        "adapter": adapter.key,
        "seconds": trained.info["wall_s"] if trained else None,
        "validation loss": losses[-1][1] if losses else None,
        "then": "; ".join(last.reasons) or "in use",
        "run": run[:8],
    }


def _verify(asked: Asked, form: VerifyAdapter) -> Shown:
    with hold_run_lock(asked.data, asked.say), told_of_death("the run", asked.data.death_note, asked.say):
        pipeline = Context(asked.data, asked.make_engines(asked.data), looks_ahead=False)
        adapter = pipeline.adapter(form.adapter.strip())
        steps = adapter_steps_of(pipeline, adapter)
        due = list(_up_to_verification(steps.values()))
        try:
            materialize(asked, pipeline, [step.asset for step in due])
        finally:  # what it says of one that did not pass is what one wants to see
            record = adapter_steps_of(pipeline, adapter)["verification"].record
            if record is not None:
                asked.say(str(record.info.get("sentence", "")))
        assert record is not None
        return _of_adapter(pipeline, adapter, "verification", record)


def _up_to_verification(steps: Iterable[Step]) -> Iterable[Step]:
    """What is due, and the verification itself; never a training: without it the verification says what is missing."""
    for step in steps:
        if step.kind == "verification":
            yield step
            return
        if step.is_to_do and not (step.kind == "mlx_adapter" and step.record is None):
            yield step


def _promote(asked: Asked, form: PromoteAdapter) -> Shown:
    with hold_run_lock(asked.data, asked.say), told_of_death("the run", asked.data.death_note, asked.say):
        pipeline = Context(asked.data, asked.make_engines(asked.data), looks_ahead=False)
        adapter = pipeline.adapter(form.adapter.strip())
        said = {"by": form.by, "because": form.because or None, "roll_back_to": form.roll_back_to or None}
        materialize(asked, pipeline, [asset_name(adapter, "promoted_adapter")], said)
        record = adapter_steps_of(pipeline, adapter)["promoted_adapter"].record
        current = in_use(pipeline, adapter)
        assert record is not None
        assert current is not None
        version = {"in use": current.describe(), "version": short(current.adapter_version)}
        return {**version, **_of_adapter(pipeline, adapter, "promoted_adapter", record)}


def _of_adapter(pipeline: Context, adapter: Adapter, name: str, record: Record) -> dict[str, Any]:
    link = {"page": MetadataValue.asset(AssetKey(adapter_key(adapter, name).path))}
    return {**link, **shown_of(pipeline, ADAPTER_ASSETS[name], record)}


def _first(catalog: Catalog) -> Mapping[str, Any]:
    return {"adapter": next(iter(catalog.adapters), "GENRE/NAME")}


TRAIN = FormJob(
    name="train_tonight",
    title="Train tonight",
    description="Trains what is due, one adapter after the other, and takes each through the gate. Start it when you "
    "leave the machine. By itself this happens in the hours of `night_window`.",
    form=TrainTonight,
    do=_train,
    example=lambda _: {},
)

VERIFY = FormJob(
    name="verify_an_adapter",
    title="Verify an adapter",
    description="Is all of it applied, and does it change pictures as its dataset says? Remaps and verifies it, unless "
    "that is up to date; it trains nothing and promotes nothing.",
    form=VerifyAdapter,
    do=_verify,
    example=_first,
)

PROMOTE = FormJob(
    name="promote_an_adapter",
    title="Promote an adapter",
    description="Puts what was trained and verified last into use, or an earlier version back, in your name.",
    form=PromoteAdapter,
    do=_promote,
    example=_first,
)
