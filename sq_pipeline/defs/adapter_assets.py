"""The assets of one adapter: dataset → MLX adapter → chosen checkpoint → mflux adapter → verification → promotion.

Here: translating records into Dagster's results. Not here: the work (`pipeline.adapters`).
"""

from collections.abc import Callable, Iterator
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

from sq_pipeline.common.errors import DatasetError
from sq_pipeline.content.records import Adapter
from sq_pipeline.defs.resources import GPU_POOL, MADE_NOW, PIPELINE
from sq_pipeline.pictures.sheets import thumbnail_markdown
from sq_pipeline.pipeline.adapters import adapter_status
from sq_pipeline.pipeline.adapters.chosen_checkpoint import make_chosen_checkpoint
from sq_pipeline.pipeline.adapters.mflux_adapter import make_mflux_adapter
from sq_pipeline.pipeline.adapters.mlx_adapter import make_mlx_adapter
from sq_pipeline.pipeline.adapters.promoted_adapter import promote
from sq_pipeline.pipeline.adapters.training_dataset import make_dataset
from sq_pipeline.pipeline.adapters.verification import make_verification, verdict_summary
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.progress import TrainingSnapshot

Results = Iterator[MaterializeResult | AssetCheckResult]


# Of what can be made, first what was begun: while an adapter is scored and verified, another process may train.
_PRIORITY = {name: str(place) for place, name in enumerate(adapter_status.STEPS[1:])} | {"training_dataset": "9"}


def _tags(step: str) -> dict[str, str]:
    return {"dagster/priority": _PRIORITY[step]}


def adapter_key(adapter: Adapter, step: str) -> AssetKey:
    """`<genre>/loras/<lora>/<step>`."""
    return AssetKey(adapter_status.asset_name(adapter, step).split("/"))


def build_adapter_assets(adapter: Adapter) -> list[AssetsDefinition]:
    """The assets of one adapter; an external file starts at the remap."""
    builders: dict[str, Callable[[Adapter, list[AssetKey]], AssetsDefinition]] = {
        "training_dataset": _training_dataset,
        "mlx_adapter": _mlx_adapter,
        "chosen_checkpoint": _chosen_checkpoint,
        "mflux_adapter": _mflux_adapter,
        "verification": _verification,
        "promoted_adapter": _promoted_adapter,
    }
    built: list[AssetsDefinition] = []
    keys: dict[str, AssetKey] = {}
    for step in adapter_status.steps_of(adapter):
        upstream = list(keys.values())[-1:]
        if step == "verification" and "chosen_checkpoint" in keys:
            upstream.append(keys["chosen_checkpoint"])  # what the remapped adapter is held against
        if step == "chosen_checkpoint":
            upstream.append(keys["training_dataset"])  # whose held-out pictures it is scored on
        built.append(builders[step](adapter, upstream))
        keys[step] = adapter_key(adapter, step)
    return built


def _result(record: Record, is_made: bool, metadata: dict[str, Any]) -> MaterializeResult:
    shown = {"fingerprint": record.fingerprint, MADE_NOW: is_made, **metadata}
    return MaterializeResult(data_version=DataVersion(record.data_version), metadata=shown)


def _picture(pipeline: Context, record: Record, name: str, alt: str, max_side_px: int) -> dict[str, Any]:
    if name not in record.objects:
        return {}
    png = pipeline.store.path_of(record.objects[name]).read_bytes()
    return {name: MetadataValue.md(thumbnail_markdown(png, alt, max_side_px))}


def _training_dataset(adapter: Adapter, upstream: list[AssetKey]) -> AssetsDefinition:
    key = adapter_key(adapter, "training_dataset")

    @asset(
        key=key,
        deps=upstream,
        group_name=adapter.genre,
        check_specs=[AssetCheckSpec("preflight", asset=key, blocking=True)],
        op_tags=_tags("training_dataset"),
        required_resource_keys={PIPELINE},
        description=f"The pictures that {adapter.name} learns from: content/lora-datasets/{adapter.dataset}.",
    )
    def training_dataset(context: AssetExecutionContext) -> Results:
        try:
            record, is_made = make_dataset(context.resources.pipeline, adapter)
        except DatasetError as error:
            faults = {f"fault {number}": str(fault) for number, fault in enumerate(error.faults, start=1)}
            yield AssetCheckResult(passed=False, check_name="preflight", asset_key=key, metadata=faults)
            raise
        yield _result(record, is_made, {"pairs": record.info["pairs"], "trigger": record.info["trigger"] or "none"})
        yield AssetCheckResult(passed=True, check_name="preflight", asset_key=key)

    return training_dataset


def _shown(snapshot: TrainingSnapshot) -> dict[str, Any]:
    values = {name: value for name, value in asdict(snapshot).items() if value is not None}
    if snapshot.strips is not None:
        values["strips"] = MetadataValue.md(thumbnail_markdown(snapshot.strips, "samples by iteration", 640))
    return values


def _mlx_adapter(adapter: Adapter, upstream: list[AssetKey]) -> AssetsDefinition:
    key = adapter_key(adapter, "mlx_adapter")

    @asset(
        key=key,
        deps=upstream,
        group_name=adapter.genre,
        pool=GPU_POOL,
        op_tags=_tags("mlx_adapter"),
        required_resource_keys={PIPELINE},
        description=f"{adapter.name} as trained, under mlx-examples' names.",
    )
    def mlx_adapter(context: AssetExecutionContext) -> MaterializeResult:
        pipeline: Context = context.resources.pipeline
        # an observation shows on the asset's page while the training still runs
        publish = lambda snapshot: context.log_event(AssetObservation(key, metadata=_shown(snapshot)))  # noqa: E731
        record, is_made = make_mlx_adapter(pipeline, adapter, context.log, publish)
        curve = _picture(pipeline, record, "loss_curve", "loss", 420)
        samples = _picture(pipeline, record, "samples", "samples by iteration", 640)
        return _result(record, is_made, {**record.info, **curve, **samples})

    return mlx_adapter


def _chosen_checkpoint(adapter: Adapter, upstream: list[AssetKey]) -> AssetsDefinition:
    @asset(
        key=adapter_key(adapter, "chosen_checkpoint"),
        deps=upstream,
        group_name=adapter.genre,
        pool=GPU_POOL,
        op_tags=_tags("chosen_checkpoint"),
        required_resource_keys={PIPELINE},
        description=f"The checkpoint of {adapter.name}'s training that is used: proposed, or a person's choice.",
    )
    def chosen_checkpoint(context: AssetExecutionContext) -> MaterializeResult:
        pipeline: Context = context.resources.pipeline
        record, is_made = make_chosen_checkpoint(pipeline, adapter, context.log)
        table = pipeline.store.path_of(record.objects["table"]).read_text(encoding="utf-8")
        grid = _picture(pipeline, record, "grid", "checkpoints", 960)
        return _result(record, is_made, {**record.info, "table": MetadataValue.md(table), **grid})

    return chosen_checkpoint


def _mflux_adapter(adapter: Adapter, upstream: list[AssetKey]) -> AssetsDefinition:
    @asset(
        key=adapter_key(adapter, "mflux_adapter"),
        deps=upstream,
        group_name=adapter.genre,
        op_tags=_tags("mflux_adapter"),
        required_resource_keys={PIPELINE},
        description=f"{adapter.name} under the names that the installed mflux loads.",
    )
    def mflux_adapter(context: AssetExecutionContext) -> MaterializeResult:
        record, is_made = make_mflux_adapter(context.resources.pipeline, adapter)
        return _result(record, is_made, record.info)

    return mflux_adapter


def _verification(adapter: Adapter, upstream: list[AssetKey]) -> AssetsDefinition:
    key = adapter_key(adapter, "verification")

    @asset(
        key=key,
        deps=upstream,
        group_name=adapter.genre,
        pool=GPU_POOL,
        check_specs=[AssetCheckSpec("verdicts", asset=key, blocking=True)],
        op_tags=_tags("verification"),
        required_resource_keys={PIPELINE},
        description=f"Is all of {adapter.name} applied, does it change pictures, and when it is called?",
    )
    def verification(context: AssetExecutionContext) -> Results:
        pipeline: Context = context.resources.pipeline
        record, is_made = make_verification(pipeline, adapter, context.log)
        report = pipeline.store.path_of(record.objects["report"]).read_text()
        sheet = _picture(pipeline, record, "sheet", "verification", 480)
        yield _result(record, is_made, {"report": MetadataValue.md(report), **sheet})
        yield AssetCheckResult(
            passed=record.info["has_passed"],
            check_name="verdicts",
            asset_key=key,
            severity=AssetCheckSeverity.ERROR,
            metadata=verdict_summary(record),
        )

    return verification


def _promoted_adapter(adapter: Adapter, upstream: list[AssetKey]) -> AssetsDefinition:
    @asset(
        key=adapter_key(adapter, "promoted_adapter"),
        deps=upstream,
        group_name=adapter.genre,
        op_tags=_tags("promoted_adapter"),
        required_resource_keys={PIPELINE},
        description=f"{adapter.name} as pictures use it: content/lora/{adapter.file}.",
    )
    def promoted_adapter(context: AssetExecutionContext) -> MaterializeResult:
        record, is_made = promote(context.resources.pipeline, adapter)
        return _result(record, is_made, record.info)

    return promoted_adapter
