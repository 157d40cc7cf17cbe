"""The assets of one adapter, as Dagster has them: one of each kind in `pipeline.adapters.adapter_assets`.

Here: translating records into Dagster's results. Not here: the work (`pipeline.adapters`).
"""

from collections.abc import Iterator
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
    DataVersion,
    MaterializeResult,
    MetadataValue,
    asset,
)

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.content.records import Adapter
from sq_pipeline.defs.resources import GPU_POOL, MADE_NOW, PIPELINE
from sq_pipeline.defs.shown import metadata_of
from sq_pipeline.pictures.sheets import thumbnail_markdown
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, AssetCheck
from sq_pipeline.pipeline.adapters.adapter_assets import ADAPTER_ASSETS, assets_of
from sq_pipeline.pipeline.adapters.facts import asset_name
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.context import Context
from sq_pipeline.training.progress import TrainingSnapshot

Results = Iterator[MaterializeResult | AssetCheckResult]

# Of what can be made, first what was begun: while an adapter is scored and verified, another process may train.
_PRIORITY = {name: str(place - 1 if place else 9) for place, name in enumerate(ADAPTER_ASSETS)}


def adapter_key(adapter: Adapter, name: str) -> AssetKey:
    """`<genre>/loras/<lora>/<name>`."""
    return AssetKey(asset_name(adapter, name).split("/"))


def build_adapter_assets(adapter: Adapter) -> list[AssetsDefinition]:
    """The assets of one adapter; an external file starts at the remap."""
    kinds = assets_of(adapter)
    names = {kind.name for kind in kinds}
    return [_build(adapter, kind, [name for name in kind.upstream if name in names]) for kind in kinds]


def _build(adapter: Adapter, kind: AdapterAsset, upstream: list[str]) -> AssetsDefinition:
    key, check = adapter_key(adapter, kind.name), kind.check

    @asset(
        key=key,
        deps=[adapter_key(adapter, name) for name in upstream],
        group_name=adapter.asset_folder.partition("/")[0],
        pool=GPU_POOL if kind.uses_gpu else None,
        check_specs=[AssetCheckSpec(check.name, asset=key, blocking=True)] if check else None,
        op_tags={"dagster/priority": _PRIORITY[kind.name]},
        required_resource_keys={PIPELINE},
        description=kind.description(adapter),
    )
    def made(context: AssetExecutionContext) -> Results:
        pipeline: Context = context.resources.pipeline

        def publish(snapshot: TrainingSnapshot) -> None:
            # an observation shows on the asset's page while the training still runs
            context.log_event(AssetObservation(key, metadata=_shown(snapshot)))

        try:
            record, is_made = make_adapter_asset(pipeline, adapter, kind.name, context.log, publish)
        except SqPipelineError as error:
            if check is not None and check.refusal is not None and isinstance(error, check.refusal):
                yield _refused(check, key, error)
            raise
        shown = {"fingerprint": record.fingerprint, MADE_NOW: is_made, **kind.figures(record)}
        shown |= metadata_of(pipeline, record, kind.shows)
        yield MaterializeResult(data_version=DataVersion(record.data_version), metadata=shown)
        if check is not None:
            yield AssetCheckResult(
                passed=check.has_passed(record),
                check_name=check.name,
                asset_key=key,
                severity=AssetCheckSeverity.ERROR,
                metadata=check.metadata(record),
            )

    return made


def _refused(check: AssetCheck, key: AssetKey, error: SqPipelineError) -> AssetCheckResult:
    faults = {f"fault {number}": str(fault) for number, fault in enumerate(error.faults, start=1)}
    return AssetCheckResult(passed=False, check_name=check.name, asset_key=key, metadata=faults)


def _shown(snapshot: TrainingSnapshot) -> dict[str, Any]:
    values = {name: value for name, value in asdict(snapshot).items() if value is not None}
    if snapshot.strips is not None:
        values["strips"] = MetadataValue.md(thumbnail_markdown(snapshot.strips, "samples by iteration", 640))
    return values
