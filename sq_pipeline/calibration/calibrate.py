"""`gate calibrate`: measure the whole bench, find the limits, and write them for a data directory.

Not here: how an adapter is made and measured (`bench`), how limits are found (`limits`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.base_models.base_models import BaseModel, Flux1Model, training_base_of
from sq_pipeline.calibration.bench import Bench, insist_own_folder
from sq_pipeline.calibration.candidates import Candidate, candidates, sample
from sq_pipeline.calibration.limits import LimitValues, Measured, find_limits, is_right, judge_all
from sq_pipeline.calibration.plain import plain_pictures
from sq_pipeline.common.archive import archive_edited
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.common.gate_overrides import GateOverrides
from sq_pipeline.common.processes.awake import kept_awake
from sq_pipeline.common.processes.progress import progress_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.verification.gate_files import load_calibration, write_calibration
from sq_pipeline.verification.gate_limits import LIMIT_NAMES, GateCalibration, limits_for
from sq_pipeline.verification.prompts import load_verify_prompts

Say = Callable[[str], None]


@dataclass(frozen=True)
class CalibrationRequest:
    """Which limits are wanted. `pictures`: a folder of plain ones, see `plain_pictures`. `is_sample`: a few adapters
    only, which no limits are found on.
    """

    base_model: BaseModel
    tier: str
    folder: Path
    pictures: Path | None = None
    is_sample: bool = False

    @property
    def bench(self) -> tuple[Candidate, ...]:
        """The adapters that take part."""
        return sample() if self.is_sample else candidates()


def calibrate(context: Context, request: CalibrationRequest, say: Say) -> list[Measured]:
    """Measure the bench, in its order; what was measured before is taken from the folder.

    Raises BaseModelError for a base model that is not trained here, ContentError for a tier without verify prompts, and
    whatever a training or a verification raises.
    """
    if not isinstance(request.base_model, Flux1Model):
        problem = f"{request.base_model.name} is not trained here, so no bench can be made over it"
        raise BaseModelError(Fault("the bench", "base_model", problem, "name the base model of your trainings"))
    load_verify_prompts(context.data, request.tier)  # what would be missed after hours is asked for now
    plain = plain_pictures(training_base_of(request.base_model), request.pictures)
    insist_own_folder(request.folder)
    bench = Bench(context, request.base_model, request.tier, request.folder, plain)
    wanted = _in_order(request.bench)
    measured: dict[str, Measured] = {}
    name = f"calibrating {request.base_model.name}, {request.tier}"
    with kept_awake(), progress_of(name, len(wanted)) as progress:
        for number, candidate in enumerate(wanted, start=1):
            found = measured[candidate.name] = bench.measure(candidate)
            shown = ", ".join(f"{name} {figure:.2f}" for name, figure in found.figures.items())
            progress.advance()
            say(f"{number} of {len(wanted)}: {candidate.name}: {', '.join(found.failed) or shown}")
    return [measured[candidate.name] for candidate in request.bench]


def _in_order(bench: Sequence[Candidate]) -> list[Candidate]:
    """Good ones first: what the bench cannot do is known before it has spent the time on faults."""
    return sorted(bench, key=lambda candidate: bool(candidate.reasons))


def write_limits(context: Context, request: CalibrationRequest, bench: Sequence[Measured]) -> Path:
    """Put the limits into the data directory's own file, beside those of other tiers over the same weights.

    A file that was there and says something else goes to `archive/` beside it. Raises ContentError, StorageError.
    """
    weights_hash, name = context.weights_hash(request.base_model), request.base_model.name
    before = load_calibration(context.data, name)
    others = dict(before.tiers) if before is not None and before.base_weights == weights_hash else {}
    tiers = {**others, request.tier: find_limits(bench)}
    text = write_calibration(GateCalibration(base_model=name, base_weights=weights_hash, tiers=tiers))
    path = context.data.gate_root / f"{name}.yaml"
    archive_edited(path, text)
    write_text(path, text)
    return path


def limits_in_use(context: Context, request: CalibrationRequest) -> LimitValues:
    """Those that adapters of the tier are judged by now. Raises ContentError, BaseModelError."""
    calibration = load_calibration(context.data, request.base_model.name)
    limits = limits_for(calibration, context.weights_hash(request.base_model), request.tier, GateOverrides())
    return {name: limits.of(name) for name in LIMIT_NAMES}


def wrong_ones(bench: Sequence[Measured], limits: LimitValues | None = None) -> list[str]:
    """Good ones that fail, and bad ones that pass or fail for no reason of theirs, see `judge_all`."""
    failing = judge_all(bench, limits)
    return [measured.name for measured in bench if not is_right(measured, failing[measured.name])]
