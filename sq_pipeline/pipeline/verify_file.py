"""The gate for any file, by `adapter verify`: the same checks and limits as for an adapter of a genre."""

from pathlib import Path
from tempfile import TemporaryDirectory

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.gate_overrides import GateOverrides
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.kept_pictures import KeptPictures
from sq_pipeline.pipeline.reference_pictures import reference_folder
from sq_pipeline.training.dataset_files import read_recipe
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.gate_files import load_calibration
from sq_pipeline.verification.gate_limits import limits_for
from sq_pipeline.verification.measure_fidelity import measure_fidelity, reading_for
from sq_pipeline.verification.null_file import open_with_null
from sq_pipeline.verification.prompts import insist_control_word, insist_trigger_is_read, load_verify_prompts
from sq_pipeline.verification.verify import VerificationReport, VerifyRequest, verify_adapter


def verify_file(
    context: Context,
    file: Path,
    source: Path,
    base_model: BaseModel,
    tier: str,
    trigger: str | None,
    reference: Path | None,
    *,
    overrides: GateOverrides | None = None,
    measures_noise: bool = False,
) -> VerificationReport:
    """Judge a file against what `source` says (itself, for any file without one) and a folder of pictures in its style.

    `overrides`: limits in place of those that `sq.yaml` has for the tier and the reference's recipe for itself.
    `measures_noise`: see `VerifyRequest`. Raises AdapterError, BaseModelError, ContentError, DatasetError, RenderError.
    """
    trigger = (trigger or "").strip() or None
    engines, thresholds = context.engines, context.settings.thresholds
    use = AdapterUse(file.resolve(), 1.0)
    calibration = load_calibration(context.data, base_model.name)
    if overrides is None:
        recipe = Recipe() if reference is None else read_recipe(reference, reference.name)
        overrides = recipe.gate.over(thresholds.overrides_for(tier))
    limits = limits_for(calibration, context.weights_hash(base_model), tier, overrides)
    prompts = load_verify_prompts(context.data, tier)
    insist_control_word(prompts, tier, trigger)
    insist_trigger_is_read(trigger, file.name, lambda: context.token_counter(base_model))
    remarks = () if source != file else ("no source was named: its fidelity proves loading only",)

    def measure() -> FidelityReport:
        reading = reading_for(source, base_model, context.data.keymaps_root)
        return measure_fidelity(use, source, base_model, engines.fidelity_meter(), reading)

    with TemporaryDirectory() as folder:
        opened, null_file = open_with_null(use.path, base_model, Path(folder))
        request = VerifyRequest(
            adapter=file.name,
            use=use,
            adapter_version=tensors_data_version(file),
            trigger=trigger,
            base_model=base_model,
            tier=tier,
            prompts=prompts,
            thresholds=thresholds,
            limits=limits,
            reference=None if reference is None else reference_folder(reference, base_model),
            source=opened,
            null_file=null_file,
            remarks=remarks,
            measures_noise=measures_noise,
        )
        renderer = KeptPictures(context, engines.renderer())
        return verify_adapter(request, measure, renderer, engines.loss_meter())
