"""The assets of one adapter, as Dagster has them: one of each kind in `pipeline.adapters.adapter_assets`.

Here: translating records into Dagster's results. Not here: the work (`pipeline.adapters`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetObservation,
    AssetsDefinition,
    AssetSpec,
    DataVersion,
    Failure,
    Field,
    MaterializeResult,
    MetadataValue,
    Noneable,
    asset,
)

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.content.records import Adapter
from sq_pipeline.defs.asset_events import Parent
from sq_pipeline.defs.asset_inputs import inputs_key, inputs_spec
from sq_pipeline.defs.resources import GPU_POOL, MADE_NOW, PIPELINE, REASONS
from sq_pipeline.defs.run_tags import note_steps
from sq_pipeline.defs.shown import inline_pictures, metadata_of, plain_metadata, tags_of
from sq_pipeline.pictures.sheets import thumbnail_markdown
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, AssetCheck, PersonsWord
from sq_pipeline.pipeline.adapters.adapter_assets import ADAPTER_ASSETS, assets_of
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.facts import asset_name
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.reasons import why
from sq_pipeline.pipeline.sources import Source
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.progress import TrainingSnapshot

Results = Iterator[MaterializeResult | AssetCheckResult]

# Of what can be made, first what was begun: while an adapter is scored and verified, another process may train.
_PRIORITY = {name: str(place - 1 if place else 9) for place, name in enumerate(ADAPTER_ASSETS)}


# What a person may say in the launchpad.
_SAID = {
    name: Field(Noneable(kind), is_required=False, description=PersonsWord.model_fields[name].description)
    for name, kind in (("by", str), ("because", str), ("iteration", int), ("roll_back_to", str))
}


def adapter_key(adapter: Adapter, name: str) -> AssetKey:
    """`<genre>/loras/<lora>/<name>`."""
    return AssetKey(asset_name(adapter, name).split("/"))


def build_adapter_assets(adapter: Adapter, sources: Mapping[str, Source]) -> list[AssetsDefinition | AssetSpec]:
    """The assets of one adapter, and what each is made from; an external file starts at the remap."""
    kinds = assets_of(adapter)
    made = [_build(adapter, kind) for kind in kinds]
    return made + [inputs_spec(adapter_key(adapter, kind.name), sources, kind.sources) for kind in kinds]


def parents_of(adapter: Adapter, kind: AdapterAsset) -> list[Parent]:
    """What an asset is made from, first its own inputs."""
    names = {of.name for of in assets_of(adapter)}
    upstream = [adapter_key(adapter, name) for name in kind.upstream if name in names]
    return [
        Parent(inputs_key(adapter_key(adapter, kind.name)), True, False),
        *(Parent(key, False, False) for key in upstream),
    ]


def _build(adapter: Adapter, kind: AdapterAsset) -> AssetsDefinition:
    key, check = adapter_key(adapter, kind.name), kind.check

    @asset(
        key=key,
        deps=[parent.key for parent in parents_of(adapter, kind)],
        group_name=adapter.asset_folder.partition("/")[0],
        pool=GPU_POOL if kind.uses_gpu else None,
        check_specs=[AssetCheckSpec(check.name, asset=key, blocking=True)] if check else None,
        config_schema={name: _SAID[name] for name in kind.hears},
        kinds={*kind.tags},
        tags=tags_of(genre=adapter.asset_folder.partition("/")[0], adapter=adapter.name, tier=adapter.tier),
        op_tags={"dagster/priority": _PRIORITY[kind.name]},
        required_resource_keys={PIPELINE},
        description=kind.description(adapter),
    )
    def made(context: AssetExecutionContext) -> Results:
        pipeline: Context = context.resources.pipeline

        def publish(snapshot: TrainingSnapshot) -> None:
            # an observation shows on the asset's page while the training still runs
            context.log_event(AssetObservation(key, metadata=_shown_while_training(snapshot)))

        step = adapter_steps_of(pipeline, adapter)[kind.name]
        word = PersonsWord.model_validate(context.op_execution_context.op_config or {})
        told = why(step) if word.by is None else f"said by {word.by}"
        note_steps(context.instance, context.run_id, [step], said="" if word.by is None else f"{kind.name}: {told}")
        try:
            record, is_made = make_adapter_asset(pipeline, adapter, kind.name, context.log, publish, word)
        except SqPipelineError as error:
            if check is not None and check.refusal is not None and isinstance(error, check.refusal):
                yield _refused(check, key, error)
            raise Failure("\n".join(map(str, error.faults)), allow_retries=False) from None
        shown = {REASONS: told, **shown_of(pipeline, kind, record), MADE_NOW: is_made}
        yield MaterializeResult(data_version=DataVersion(record.data_version), metadata=shown)
        if verdict := verdict_of(pipeline, kind, key, record):
            yield verdict

    return made


def shown_of(pipeline: Context, kind: AdapterAsset, record: Record) -> dict[str, Any]:
    """What a materialization of this record shows."""
    figures = plain_metadata({"fingerprint": record.fingerprint, **kind.figures(record)})
    return {**figures, **metadata_of(pipeline, record, kind.shows)}


def verdict_of(pipeline: Context, kind: AdapterAsset, key: AssetKey, record: Record) -> AssetCheckResult | None:
    """The verdict of a kind's check over this record, with its pictures; None for a kind without one."""
    if kind.check is None:
        return None
    told = kind.check.sentence(record)
    return AssetCheckResult(
        passed=kind.check.has_passed(record),
        check_name=kind.check.name,
        asset_key=key,
        severity=AssetCheckSeverity.ERROR,
        description=f"{told}\n\n{inline_pictures(pipeline, record, kind.shows)}" if told else None,
        metadata=kind.check.metadata(record),
    )


def _refused(check: AssetCheck, key: AssetKey, error: SqPipelineError) -> AssetCheckResult:
    faults = {f"fault {number}": str(fault) for number, fault in enumerate(error.faults, start=1)}
    return AssetCheckResult(passed=False, check_name=check.name, asset_key=key, metadata=faults)


def _shown_while_training(snapshot: TrainingSnapshot) -> dict[str, Any]:
    values = {name: value for name, value in asdict(snapshot).items() if value is not None}
    if snapshot.strips is not None:
        values["strips"] = MetadataValue.md(thumbnail_markdown(snapshot.strips, "samples by iteration", 640))
    return values
