"""What an adapter is judged by, when a checkpoint of it is chosen and when it is verified: limits and reference.

Not here: judging (`verification`), which gate judged it before an upgrade (each asset's own inputs).
"""

from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.gate_overrides import GateOverrides
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import Steps, made
from sq_pipeline.pipeline.adapters.facts import base_model_for, dataset_label, recipe_of
from sq_pipeline.pipeline.adapters.training_dataset import checked_pairs
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.reference_pictures import as_reference, reference_folder
from sq_pipeline.verification.gate_files import load_calibration, load_shipped
from sq_pipeline.verification.gate_limits import GateCalibration, Limits, limits_for
from sq_pipeline.verification.reference import Reference


def overrides_of(context: Context, adapter: Adapter) -> GateOverrides:
    """A person's limits for an adapter: for its tier, of its recipe, then for itself; not those of stacks."""
    thresholds, recipe = context.settings.thresholds, recipe_of(context, adapter)
    found = recipe.gate.over(thresholds.overrides_for(adapter.tier))
    found = thresholds.gate_for.get(adapter.key, GateOverrides()).over(found)
    return found.model_copy(update={"stack_shown": None})


def limits_of(context: Context, adapter: Adapter) -> Limits:
    """The limits that it is judged by. Raises BaseModelError, ContentError."""
    weights_hash = context.weights_hash(base_model_for(context, adapter))
    return limits_for(_calibration_of(context, adapter), weights_hash, adapter.tier, overrides_of(context, adapter))


def shipped_limits_of(context: Context, adapter: Adapter) -> Limits:
    """Those that it would be judged by if nobody had said or calibrated anything. Raises BaseModelError."""
    base_model = base_model_for(context, adapter)
    shipped = load_shipped(base_model.name)
    return limits_for(shipped, context.weights_hash(base_model), adapter.tier, GateOverrides())


def has_own_limits(context: Context, adapter: Adapter) -> bool:
    """True where a person asks something that the gate of before could not be asked."""
    is_own = _calibration_of(context, adapter) != load_shipped(base_model_for(context, adapter).name)
    is_asked = recipe_of(context, adapter).trigger_required or overrides_of(context, adapter) != GateOverrides()
    return is_own or is_asked


def limits_of_tier(context: Context, base_model: BaseModel, tier: Tier) -> Limits:
    """Those for pictures of a tier, whichever adapters make them. Raises BaseModelError, ContentError."""
    overrides = context.settings.thresholds.overrides_for(tier)
    return limits_for(_calibration(context, base_model), context.weights_hash(base_model), tier, overrides)


def _calibration_of(context: Context, adapter: Adapter) -> GateCalibration | None:
    return _calibration(context, base_model_for(context, adapter))


def _calibration(context: Context, base_model: BaseModel) -> GateCalibration | None:
    return context.remember(("gate", base_model.name), lambda: load_calibration(context.data, base_model.name))


def reference_label(adapter: Adapter) -> str:
    """What people call the folder that its entry names."""
    return f"content/lora-datasets/{adapter.reference}"


def reference_of(context: Context, adapter: Adapter, steps: Steps) -> Reference | None:
    """An adapter's own dataset, as it was checked; for one from elsewhere the folder that its entry names, or None."""
    if adapter.dataset is None:
        if adapter.reference is None:
            return None
        path, base_model = context.data.datasets_root / adapter.reference, base_model_for(context, adapter)
        return reference_folder(path, base_model, reference_label(adapter))
    return own_reference(context, adapter, steps)


def own_reference(context: Context, adapter: Adapter, steps: Steps) -> Reference:
    """The dataset that it was trained on."""
    pairs = checked_pairs(context, adapter, made(steps, "training_dataset"))
    paths, captions = [path for path, _ in pairs], [caption for _, caption in pairs]
    return as_reference(
        dataset_label(adapter), paths, captions, recipe_of(context, adapter), base_model_for(context, adapter)
    )
