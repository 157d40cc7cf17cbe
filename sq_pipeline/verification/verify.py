"""Verification: does this adapter earn its place? All checks in the order of their price, until the verdict is clear.

Not here: what each check asks (`checks`), the pictures (`camera`), where references come from.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from sq_pipeline.common.errors import AdapterError, Fault, RenderError
from sq_pipeline.common.hints import without_place
from sq_pipeline.common.processes.progress import progress_of
from sq_pipeline.pictures.ports import Renderer
from sq_pipeline.telemetry.spans import span
from sq_pipeline.verification.camera import Camera, OnPicture, Pictures
from sq_pipeline.verification.checks import table
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.gate_limits import Limits
from sq_pipeline.verification.look import ChosenCheckpoint, InUse, Look, VerifyRequest, skipped
from sq_pipeline.verification.measure_fidelity import MeasureFidelity
from sq_pipeline.verification.ports import LossMeter
from sq_pipeline.verification.prompts import VerifyPrompt
from sq_pipeline.verification.thresholds import Thresholds
from sq_pipeline.verification.verdicts import (
    Verdict,
    has_passed,
    judge_fidelity,
    judge_matching,
    verdicts_version,
)

__all__ = ["ChosenCheckpoint", "InUse", "VerificationReport", "VerifyRequest", "verify_adapter"]

CLEAR = "the verdict is clear without it"


@dataclass(frozen=True)
class PromptPictures:
    """One prompt's pictures, each `(height, width, 3)` uint8: the base model's and the adapter's, with the trigger and
    with the control word. Empty tuples where they were not needed.
    """

    prompts: tuple[VerifyPrompt, ...]
    base: Pictures
    styled: Pictures
    base_with_control: Pictures
    styled_with_control: Pictures


@dataclass(frozen=True)
class VerificationReport:
    """The verdicts on one adapter, and the measurements and pictures they stand on.

    `fidelity` is None where the source or the file could not be read; there are no pictures where it fell short.
    `dataset`: some of the reference's pictures. `pictures_rendered`: with an adapter, those
    kept since its checkpoint was chosen among them; beside the base model's.
    """

    adapter: str
    adapter_version: str
    trigger: str | None
    base_model: str
    verdicts: tuple[Verdict, ...]
    thresholds: Thresholds
    limits: Limits
    fidelity: FidelityReport | None = None
    pictures: PromptPictures | None = None
    dataset: Pictures = ()
    pictures_rendered: int = 0
    remarks: tuple[str, ...] = ()
    in_use: InUse | None = None

    @property
    def has_passed(self) -> bool:
        """True when nothing failed."""
        return has_passed(self.verdicts)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence: the first check that failed, or was short of advice, else what was found."""
        for outcome, word in (("failed", "FAIL"), ("warned", "PASS, with a warning")):
            for verdict in self.verdicts:
                if verdict.outcome == outcome:
                    return f"{word}: {verdict.detail}"
        told = {verdict.check: verdict.detail for verdict in self.verdicts if verdict.outcome == "passed"}
        return f"PASS: {told.get('style shown') or next(iter(reversed(told.values())), 'nothing was checked')}"

    @property
    def data_version(self) -> str:
        """Outcomes and adapter; the figures do not count."""
        return verdicts_version(self.verdicts, self.adapter_version)

    def as_json(self, most_layers: int | None = None) -> dict[str, Any]:
        """The report without its pictures, as plain values, and with so many of the worst layers (None: all)."""
        return {
            "adapter": self.adapter,
            "adapter_version": self.adapter_version,
            "trigger": self.trigger,
            "base_model": self.base_model,
            "has_passed": self.has_passed,
            "sentence": self.sentence,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "remarks": list(self.remarks),
            "thresholds": self.thresholds.model_dump(),
            "limits": self.limits.as_json(),
            "pictures_rendered": self.pictures_rendered,
            "fidelity": None if self.fidelity is None else self.fidelity.as_json(most_layers),
            "prompts": [] if self.pictures is None else [prompt.model_dump() for prompt in self.pictures.prompts],
        }


def verify_adapter(
    request: VerifyRequest,
    measure: MeasureFidelity,
    renderer: Renderer,
    meter: LossMeter,
    on_picture: OnPicture | None = None,
) -> VerificationReport:
    """Make the checks in the order of their price, and stop rendering when one has failed.

    An adapter that falls short of its fidelity, or that the renderer does not apply whole, is a failed verdict, not an
    exception; after the former nothing is rendered. What needs no further picture is judged all the same. Everything is
    compared on the same text and seed, so that only the adapter differs.
    """
    asked = {
        "verify.adapter": request.adapter,
        "verify.base_model": request.base_model.name,
        "verify.tier": request.tier,
    }
    with (
        span("flux_mlx.verify_adapter", asked) as told,
        progress_of(f"verifying {request.adapter}", _most_pictures(request)) as progress,
    ):

        def on_each(done: int) -> None:
            progress.reach(done)
            if on_picture is not None:
                on_picture(done)

        camera = Camera(request.base_model, request.tier, request.prompts, renderer, on_each)
        report = _verify(request, measure, camera, meter)
        report = replace(report, pictures_rendered=camera.taken)
        told.set({"verify.has_passed": report.has_passed, "verify.pictures": camera.taken})
        return report


def _most_pictures(request: VerifyRequest) -> int:
    """With the adapter and without it; what stops earlier renders fewer."""
    prompts, has_trigger = len(request.prompts.prompts), request.trigger is not None
    has_reference = request.reference is not None
    base = prompts * (1 + (2 if has_reference else int(has_trigger)))
    return base + table.most_pictures(prompts, has_trigger=has_trigger, has_reference=has_reference)


def _verify(request: VerifyRequest, measure: MeasureFidelity, camera: Camera, meter: LossMeter) -> VerificationReport:
    fidelity, first = _check_fidelity(request, measure)
    notes = request.reference.notes if request.reference is not None else ()
    report = VerificationReport(
        request.adapter,
        request.adapter_version,
        request.trigger,
        request.base_model.name,
        (first,),
        request.thresholds,
        request.limits,
        fidelity,
        remarks=(*request.remarks, *notes),
        in_use=request.in_use,
    )
    if first.outcome == "failed" or fidelity is None:
        return report
    look = Look(request, camera, fidelity, meter)
    verdicts = [first]
    for check in table.BEFORE_PICTURES:
        verdicts.append(check.judge(look))
        if check.ends and verdicts[-1].outcome == "failed":
            return replace(report, verdicts=tuple(verdicts))
    camera.base(request.trigger)  # first: one swap of adapters instead of one a prompt, and not the adapter's fault
    try:
        camera.styled(request.use, request.trigger)
    except RenderError as error:
        matching = judge_matching(None, "; ".join(fault.problem for fault in error.faults))
        return replace(report, verdicts=(*verdicts, matching))
    worst = min(camera.applied, key=lambda item: (item.is_whole, item.keys_matched))
    verdicts.append(judge_matching(worst))
    for check in table.ON_PICTURES:
        is_clear = any(verdict.outcome == "failed" for verdict in verdicts)
        needs_more = not all(camera.has_styled(*shot) for shot in check.shots(look))
        verdicts.append(skipped(check.name, CLEAR) if is_clear and needs_more else check.judge(look))
    return replace(report, verdicts=tuple(verdicts), pictures=_pictures(look), dataset=_dataset(look))


def _pictures(look: Look) -> PromptPictures:
    request, camera = look.request, look.camera
    control = look.prompts.control_word
    has_control = camera.has_styled(request.use, control)
    return PromptPictures(
        prompts=look.prompts.prompts,
        base=look.base,
        styled=look.styled,
        base_with_control=look.base_with_control if has_control else (),
        styled_with_control=camera.styled(request.use, control) if has_control else (),
    )


def _dataset(look: Look) -> Pictures:
    reference = look.request.reference
    if reference is None or not reference.pictures:
        return ()
    return reference.read(look.camera.size)[: len(look.prompts.prompts)]


def _way_on(fault: Fault) -> str:
    """The command that a fault names, without the file's path."""
    return f"; {without_place(fault.hint, fault.file)}" if fault.file and fault.hint.startswith("`") else ""


def _check_fidelity(request: VerifyRequest, measure: MeasureFidelity) -> tuple[FidelityReport | None, Verdict]:
    limits = request.thresholds.fidelity
    try:
        report = measure()
    except AdapterError as error:
        # without the file's name: it is a path on this machine, and reports are kept
        problems = [": ".join(filter(None, (fault.field, fault.problem))) + _way_on(fault) for fault in error.faults]
        return None, judge_fidelity(None, limits, "; ".join(problems))
    return report, judge_fidelity(report, limits)
