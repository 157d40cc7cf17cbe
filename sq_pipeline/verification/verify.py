"""Verification: is all of this adapter applied, does it do something, and when it is called? Verdicts on it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.errors import AdapterError, Fault, RenderError
from sq_pipeline.common.hints import without_place
from sq_pipeline.common.tiers import shown_tier
from sq_pipeline.pictures.ports import AppliedAdapter, Renderer, RenderRequest
from sq_pipeline.telemetry.spans import span
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.measure_fidelity import MeasureFidelity
from sq_pipeline.verification.prompts import VerifyPrompt, VerifyPrompts
from sq_pipeline.verification.thresholds import Thresholds
from sq_pipeline.verification.verdicts import (
    Verdict,
    has_passed,
    judge_change,
    judge_fidelity,
    judge_matching,
    judge_trigger,
    verdicts_version,
)

Pixels = npt.NDArray[np.uint8]
OnPicture = Callable[[int, int], None]  # pictures done, pictures in all


@dataclass(frozen=True)
class VerifyRequest:
    """What is verified, for which base model and tier, by which prompts and limits. `adapter`: its name for people.

    `remarks`: what is to be told of it beside the verdicts.
    """

    adapter: str
    use: AdapterUse
    adapter_version: str
    trigger: str | None
    base_model: BaseModel
    tier: str
    prompts: VerifyPrompts
    thresholds: Thresholds
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptPictures:
    """One prompt's pictures, each `(height, width, 3)` uint8, and their similarities (SSIM, 1 = the same)."""

    prompt: str
    seed: int
    without_adapter: Pixels
    with_trigger: Pixels
    with_control: Pixels | None
    ssim_changed: float
    ssim_trigger: float | None
    ssim_leak: float | None


@dataclass(frozen=True)
class VerificationReport:
    """The verdicts on one adapter, and the measurements and pictures they stand on.

    `fidelity` is None where the source or the file could not be read; there are no pictures where it fell short.
    """

    adapter: str
    adapter_version: str
    trigger: str | None
    base_model: str
    verdicts: tuple[Verdict, ...]
    thresholds: Thresholds
    fidelity: FidelityReport | None = None
    pictures: tuple[PromptPictures, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def has_passed(self) -> bool:
        """True when nothing failed."""
        return has_passed(self.verdicts)

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
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "remarks": list(self.remarks),
            "thresholds": self.thresholds.model_dump(),
            "fidelity": None if self.fidelity is None else self.fidelity.as_json(most_layers),
            "prompts": [
                {
                    "prompt": pictures.prompt,
                    "seed": pictures.seed,
                    "ssim_changed": pictures.ssim_changed,
                    "ssim_trigger": pictures.ssim_trigger,
                    "ssim_without_adapter_to_control": pictures.ssim_leak,
                }
                for pictures in self.pictures
            ],
        }


def ssim(first: Pixels, second: Pixels) -> float:
    """Structural similarity of two RGB pictures, 1 for equal ones (Wang et al. 2004, as scikit-image computes it)."""
    if first.shape != second.shape:
        raise ValueError(f"pictures of {first.shape} and {second.shape} cannot be compared")
    from skimage.metrics import structural_similarity  # with SciPy half a second, which `plan` does not need

    similarity: Any = structural_similarity(first, second, channel_axis=-1, data_range=255)
    return float(similarity)


def verify_adapter(
    request: VerifyRequest, measure: MeasureFidelity, renderer: Renderer, on_picture: OnPicture | None = None
) -> VerificationReport:
    """Measure the fidelity; then render each prompt without the adapter, with it, and with the control word; judge.

    An adapter that falls short of its fidelity, or that the renderer does not apply whole, is a failed verdict, not an
    exception; after the former nothing is rendered. Change is measured on the same text, trigger included, so that only
    the adapter differs.
    """
    asked = {
        "verify.adapter": request.adapter,
        "verify.base_model": request.base_model.name,
        "verify.tier": request.tier,
    }
    with span("flux_mlx.verify_adapter", asked) as told:
        report = _verify(request, measure, renderer, on_picture)
        told.set({"verify.has_passed": report.has_passed, "verify.pictures": len(report.pictures)})
        return report


def _verify(
    request: VerifyRequest, measure: MeasureFidelity, renderer: Renderer, on_picture: OnPicture | None
) -> VerificationReport:
    fidelity, first = _check_fidelity(measure, request.thresholds)
    report = VerificationReport(
        request.adapter,
        request.adapter_version,
        request.trigger,
        request.base_model.name,
        (first,),
        request.thresholds,
        fidelity,
        remarks=request.remarks,
    )
    if first.outcome == "failed":
        return report
    camera = _Camera(request, renderer, on_picture)
    # all pictures without the adapter first: one swap of adapters instead of one a prompt
    plain = [camera.take(request.trigger, item, with_adapter=False) for item in request.prompts.prompts]
    try:
        pictures = _take_pictures(request, camera, plain)
    except RenderError as error:
        matching = judge_matching(None, "; ".join(fault.problem for fault in error.faults))
        return replace(report, verdicts=(first, matching))
    worst = min(camera.applied, key=lambda item: (item.is_whole, item.keys_matched))
    ssim_trigger = [item.ssim_trigger for item in pictures if item.ssim_trigger is not None]
    verdicts = (
        first,
        judge_matching(worst),
        judge_change([item.ssim_changed for item in pictures], request.thresholds),
        judge_trigger(ssim_trigger, request.thresholds, request.trigger),
    )
    return replace(report, verdicts=verdicts, pictures=pictures)


class _Camera:
    """Renders what a verification asks for, and keeps what was `applied` of the adapter each time."""

    def __init__(self, request: VerifyRequest, renderer: Renderer, on_picture: OnPicture | None) -> None:
        self._request, self._renderer, self._on_picture = request, renderer, on_picture
        self._tier = shown_tier(request.tier)
        self._settings = request.base_model.settings_for(self._tier)
        self._done, self._total = 0, len(request.prompts.prompts) * (3 if request.trigger else 2)
        self.applied: list[AppliedAdapter] = []

    def take(self, word: str | None, item: VerifyPrompt, *, with_adapter: bool) -> Pixels:
        """A prompt's picture with a word before it."""
        use, size = self._request.use, self._settings.size
        asked = RenderRequest(
            base_model=self._request.base_model.name,
            positive_prompt=f"{word}, {item.prompt}" if word else item.prompt,
            seed=item.seed,
            num_inference_steps=self._settings.num_inference_steps,
            width_px=size.width_px,
            height_px=size.height_px,
            guidance=self._settings.guidance,
            adapters=(use,) if with_adapter else (),
            tier=self._tier,
            must_be_whole=False,
        )
        image = self._renderer.render(asked)
        if with_adapter:
            # a renderer that says nothing of the adapter has not applied it
            self.applied.extend(image.applied or (AppliedAdapter(use.path, use.lora_scale, 0, 0, 0, 0),))
        self._done += 1
        if self._on_picture is not None:
            self._on_picture(self._done, self._total)
        return image.pixels


def _take_pictures(request: VerifyRequest, camera: _Camera, plain: Sequence[Pixels]) -> tuple[PromptPictures, ...]:
    pictures: list[PromptPictures] = []
    for item, without in zip(request.prompts.prompts, plain, strict=True):
        styled = camera.take(request.trigger, item, with_adapter=True)
        control = None
        if request.trigger:
            control = camera.take(request.prompts.control_word, item, with_adapter=True)
        pictures.append(
            PromptPictures(
                prompt=item.prompt,
                seed=item.seed,
                without_adapter=without,
                with_trigger=styled,
                with_control=control,
                ssim_changed=ssim(without, styled),
                ssim_trigger=None if control is None else ssim(styled, control),
                ssim_leak=None if control is None else ssim(without, control),
            )
        )
    return tuple(pictures)


def _way_on(fault: Fault) -> str:
    """The command that a fault names, without the file's path."""
    return f"; {without_place(fault.hint, fault.file)}" if fault.file and fault.hint.startswith("`") else ""


def _check_fidelity(measure: MeasureFidelity, thresholds: Thresholds) -> tuple[FidelityReport | None, Verdict]:
    try:
        report = measure()
    except AdapterError as error:
        # without the file's name: it is a path on this machine, and reports are kept
        problems = [": ".join(filter(None, (fault.field, fault.problem))) + _way_on(fault) for fault in error.faults]
        return None, judge_fidelity(None, thresholds.fidelity, "; ".join(problems))
    return report, judge_fidelity(report, thresholds.fidelity)
