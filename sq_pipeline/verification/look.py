"""What the checks of one verification look at: the request, the camera, and what was measured already.

Figures are taken when a check first asks for them. Not here: the checks (`checks`), their order (`checks.table`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sq_pipeline.adapters.form import AdapterUse, UpdateSource
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.verification.camera import Camera, Pictures, with_word
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.gate_limits import IS_UPPER, LimitName, Limits
from sq_pipeline.verification.measures.style import StyleFigures, StyleTarget
from sq_pipeline.verification.ports import LossMeter, LossRequest
from sq_pipeline.verification.prompts import VerifyPrompts
from sq_pipeline.verification.reference import LEAST_PICTURES, Reference
from sq_pipeline.verification.thresholds import Thresholds
from sq_pipeline.verification.verdicts import Outcome, Verdict

# Words that mean nothing, beside the tier's control word: what any word does to a loss.
CONTROL_WORDS = ("quillomarsh", "vintherro")
BASE_SEED_STEP = 1
MOST_LOSS_PICTURES = 8


@dataclass(frozen=True)
class ChosenCheckpoint:
    """Which checkpoint of its training an adapter is, and whether its scores say that it takes over the composition."""

    iteration: int
    is_overtrained: bool


@dataclass(frozen=True)
class InUse:
    """The version of an adapter that pictures are made with now: its figures by check, and its pictures of the prompts.

    `pictures` is empty where they were not kept, or are of other prompts.
    """

    version: str
    figures: Mapping[str, float | None]
    pictures: Pictures = ()


@dataclass(frozen=True)
class VerifyRequest:
    """What is verified, for which base model and tier, by which prompts and limits. `adapter`: its name for people.

    `source`: what the file adds, opened, and `null_file` the same with its outputs exchanged at random; None for files
    that cannot be opened so. `remarks`: what is to be told of it beside the verdicts. `measures_noise`: also where a
    reference tells more. `checkpoint`: None for one that was not chosen by its scores. `in_use`: what
    the report compares it with; it counts for no verdict.
    """

    adapter: str
    use: AdapterUse
    adapter_version: str
    trigger: str | None
    base_model: BaseModel
    tier: str
    prompts: VerifyPrompts
    thresholds: Thresholds
    limits: Limits
    reference: Reference | None = None
    source: UpdateSource | None = None
    null_file: Path | None = None
    remarks: tuple[str, ...] = ()
    measures_noise: bool = False
    checkpoint: ChosenCheckpoint | None = None
    in_use: InUse | None = None


@dataclass(frozen=True)
class Losses:
    """Shares of the base model's loss that the adapter saves on pictures of the reference: with their captions, with
    trigger and sentence as prompts have them.
    """

    as_trained: float
    as_asked: float
    pictures: int


class Look:
    """One verification under way."""

    def __init__(self, request: VerifyRequest, camera: Camera, fidelity: FidelityReport, meter: LossMeter) -> None:
        self.request, self.camera, self.fidelity, self._meter = request, camera, fidelity, meter

    @property
    def prompts(self) -> VerifyPrompts:
        """The tier's."""
        return self.request.prompts

    @property
    def base(self) -> Pictures:
        """The base model's pictures of the prompts, with the trigger."""
        return self.camera.base(self.request.trigger)

    @property
    def base_with_control(self) -> Pictures:
        """The same with the control word: one set for all adapters of a base model."""
        return self.camera.base(self.prompts.control_word)

    @property
    def styled(self) -> Pictures:
        """The adapter's pictures, with the trigger. Raises RenderError."""
        return self.camera.styled(self.request.use, self.request.trigger)

    @cached_property
    def target(self) -> StyleTarget | str:
        """What the reference looks like beside the base model; why it cannot be said, in words."""
        return style_target(self.request.reference, self.camera)

    @cached_property
    def style(self) -> StyleFigures | str:
        """How far the adapter's pictures go towards it; why it cannot be said, in words. Raises RenderError."""
        target = self.target
        return target if isinstance(target, str) else target.measure(self.styled, self.base)

    @cached_property
    def losses(self) -> Losses | str:
        """What the adapter saves of the loss; why it cannot be said, in words. Raises AdapterError, BaseModelError."""
        request, reference = self.request, self.request.reference
        if reference is None or request.source is None:
            return "there is no dataset to measure it on" if reference is None else "the file cannot be opened for it"
        if not reference.held_out:
            return f"no picture of {reference.label} was held out of its training"
        numbers = self._loss_numbers(reference)
        sentences = [item.prompt for item in self.prompts.prompts]
        trained = tuple(reference.captions[number] or (request.trigger or "") for number in numbers)
        asked = tuple(with_word(request.trigger, sentences[at % len(sentences)]) for at in range(len(numbers)))
        saved = self._saved(reference, request.source, (trained, asked))
        if saved is None:
            return f"{request.base_model.name} has no measure of it yet"
        return Losses(saved[0], saved[1], len(numbers))

    @cached_property
    def losses_by_chance(self) -> tuple[float, ...]:
        """The same with words that mean nothing in the captions' place; empty where it cannot be said."""
        reference, source = self.request.reference, self.request.source
        if reference is None or source is None or isinstance(self.losses, str):
            return ()
        count = len(self._loss_numbers(reference))
        words = tuple((word,) * count for word in (self.prompts.control_word, *CONTROL_WORDS))
        return tuple(self._saved(reference, source, words) or ())

    def _loss_numbers(self, reference: Reference) -> tuple[int, ...]:
        return reference.held_out[:MOST_LOSS_PICTURES]

    def _saved(
        self, reference: Reference, source: UpdateSource, captions: tuple[tuple[str, ...], ...]
    ) -> list[float] | None:
        request = LossRequest(
            base_model=self.request.base_model,
            pictures=tuple(reference.pictures[number] for number in self._loss_numbers(reference)),
            captions=captions,
            adapters=((source, self.request.use.lora_scale),),
            size=reference.loss_size,
            guidance=reference.guidance,
            background=reference.background,
        )
        found = self._meter.measure_losses(request)
        return None if found is None else [(base - mine) / base if base > 0 else 0.0 for base, mine in found]

    def verdict(self, check: str, name: LimitName, figure: float, detail: str) -> Verdict:
        """A figure against its limit. Short of one that nobody calibrated, it is a warning."""
        limits, limit = self.request.limits, self.request.limits.of(name)
        is_met = limits.is_met(name, figure)
        outcome: Outcome = "passed" if is_met else "failed" if limits.fails(name) else "warned"
        sign = "≤" if name in IS_UPPER else "≥"
        threshold = f"{sign} {limit.limit:.3g} ({limits.reason(name)})"
        told = figure if math.isfinite(figure) else None
        margin = limits.margin(name, figure) if told is not None else None
        return Verdict(check, outcome, told, threshold, detail, limit.limit, limit.nothing, limit.good, margin=margin)


def style_target(reference: Reference | None, camera: Camera) -> StyleTarget | str:
    """What a reference looks like beside the base model; why it cannot be said, in words."""
    if reference is None:
        return "without a dataset or a folder of reference pictures, whether this is its style was not checked"
    if len(reference.pictures) < LEAST_PICTURES:
        return (
            f"{reference.label} has {len(reference.pictures)} pictures; {LEAST_PICTURES} say how much a style varies, "
            "so whether this is its style was not checked"
        )
    word = camera.prompts.control_word
    return StyleTarget(reference.read(camera.size), (*camera.base(word), *camera.base(word, seed_step=BASE_SEED_STEP)))


def skipped(check: str, why: str) -> Verdict:
    """A check that was not made."""
    return Verdict(check, "skipped", None, "", why)
