"""One adapter as it stands: each of its assets, what it would be made from, and why it is not fresh. Makes nothing.

Not here: what the assets are (`adapter_assets`), making them (`make_adapter_asset`).
"""

from sq_pipeline.common.errors import AdapterError, Fault, SqPipelineError
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, Steps
from sq_pipeline.pipeline.adapters.adapter_assets import assets_of
from sq_pipeline.pipeline.adapters.facts import asset_name, base_model_for
from sq_pipeline.pipeline.chain import follow, problems_of
from sq_pipeline.pipeline.context import Context, Step


def adapter_steps_of(context: Context, adapter: Adapter) -> dict[str, Step]:
    """Every step of an adapter as it stands; a fault makes its step `blocked` and what follows with it."""
    steps: dict[str, Step] = {}
    for asset in assets_of(adapter):
        try:
            steps[asset.name] = _step_of(context, adapter, asset, steps)
        except SqPipelineError as error:
            reasons = tuple(map(str, error.faults))
            steps[asset.name] = Step(asset_name(adapter, asset.name), asset.name, "blocked", reasons=reasons)
    return steps


def _step_of(context: Context, adapter: Adapter, asset: AdapterAsset, steps: Steps) -> Step:
    name = asset_name(adapter, asset.name)
    missing = next((steps[kind] for kind in asset.upstream if kind in steps and steps[kind].record is None), None)
    if missing is not None:
        step = follow([missing], name, asset.name)
    else:
        base_model_for(context, adapter)  # a recipe that cannot be used stops its line at the first step
        step = context.step(name, asset.name, asset.inputs(context, adapter, steps))
    return asset.refine(context, adapter, step, steps)


def ready(context: Context, adapter: Adapter, name: str) -> tuple[Step, Steps]:
    """The step, with everything upstream there; raises AdapterError otherwise."""
    steps = adapter_steps_of(context, adapter)
    step = steps[name]
    if step.status in ("pending", "blocked") and step.record is None:
        raise AdapterError([Fault(step.asset, "", problem, "") for problem in problems_of(step)])
    return step, steps
