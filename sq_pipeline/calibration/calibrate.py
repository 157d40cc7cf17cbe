"""`gate calibrate`: measure the whole bench, find the limits, and write them for a data directory.

Not here: how an adapter is made and measured (`bench`), how limits are found (`limits`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.base_models.base_models import BaseModel, Flux1Model, training_base_of
from sq_pipeline.calibration.bench import Bench
from sq_pipeline.calibration.candidates import Candidate, candidates
from sq_pipeline.calibration.limits import Measured, find_limits, is_right, judge_unseen
from sq_pipeline.calibration.plain import plain_pictures
from sq_pipeline.calibration.styles import BENCH_STYLES
from sq_pipeline.calibration.table import write_table
from sq_pipeline.common.archive import archive_edited
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import BaseModelError, ContentError, Fault
from sq_pipeline.common.processes.awake import kept_awake
from sq_pipeline.pipeline.context import Context
from sq_pipeline.verification.gate_files import load_calibration, write_calibration
from sq_pipeline.verification.gate_limits import GateCalibration

Say = Callable[[str], None]


@dataclass(frozen=True)
class CalibrationRequest:
    """Which limits are wanted. `pictures`: a folder of plain ones, see `plain_pictures`. `styles`: those that
    take part.
    """

    base_model: BaseModel
    tier: str
    folder: Path
    pictures: Path | None = None
    styles: tuple[str, ...] = tuple(BENCH_STYLES)

    @property
    def is_whole(self) -> bool:
        """True where all styles take part: limits are written of nothing less."""
        return set(self.styles) == set(BENCH_STYLES)


def calibrate(context: Context, request: CalibrationRequest, say: Say) -> list[Measured]:
    """Measure the bench; what was measured before is taken from the folder. Writes `table.md` there.

    Raises ContentError for a style that is not on it, BaseModelError for a base model that is trained by no trainer of
    ours, and whatever a training or a verification raises.
    """
    if unknown := [style for style in request.styles if style not in BENCH_STYLES]:
        hint = f"use {', '.join(BENCH_STYLES)}"
        raise ContentError([Fault("the bench", style, "is none of its styles", hint) for style in unknown])
    if not isinstance(request.base_model, Flux1Model):
        problem = f"{request.base_model.name} is not trained here, so no bench can be made over it"
        raise BaseModelError(Fault("the bench", "base_model", problem, "name the base model of your trainings"))
    plain = plain_pictures(training_base_of(request.base_model), request.pictures)
    bench = Bench(context, request.base_model, request.tier, request.folder, plain)
    wanted = _in_order(candidates(request.styles))
    measured: dict[str, Measured] = {}
    with kept_awake():
        for number, candidate in enumerate(wanted, start=1):
            found = measured[candidate.name] = bench.measure(candidate)
            shown = ", ".join(f"{name} {figure:.2f}" for name, figure in found.figures.items())
            say(f"{number} of {len(wanted)}: {candidate.name}: {', '.join(found.failed) or shown}")
    in_order = [measured[candidate.name] for candidate in candidates(request.styles)]
    write_text(request.folder / "table.md", write_table(in_order, request.base_model.name, request.tier))
    return in_order


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


def wrong_ones(bench: Sequence[Measured]) -> list[str]:
    """Good ones that fail, and bad ones that pass or fail for no reason of theirs; by limits they had no part in."""
    unseen = judge_unseen(bench)
    return [measured.name for measured in bench if not is_right(measured, unseen[measured.name])]
