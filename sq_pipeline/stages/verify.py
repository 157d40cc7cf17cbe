"""Verification: does this adapter do something, all of it, and when it is called? Pictures in, verdicts out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.core.base_models import BaseModel
from sq_pipeline.core.errors import RenderError
from sq_pipeline.core.protocols import AdapterUse, AppliedAdapter, Renderer, RenderRequest
from sq_pipeline.core.verdicts import (
    Thresholds,
    Verdict,
    has_passed,
    judge_change,
    judge_matching,
    judge_trigger,
    verdicts_version,
)
from sq_pipeline.storage.verify_prompts import VerifyPrompts

Pixels = npt.NDArray[np.uint8]
OnPicture = Callable[[int, int], None]  # pictures done, pictures in all


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
    """The verdicts on one adapter, and the pictures they stand on."""

    adapter: str
    adapter_version: str
    trigger: str | None
    base_model: str
    verdicts: tuple[Verdict, ...]
    pictures: tuple[PromptPictures, ...]

    @property
    def has_passed(self) -> bool:
        """True when nothing failed."""
        return has_passed(self.verdicts)

    @property
    def data_version(self) -> str:
        """Outcomes and adapter; the figures do not count."""
        return verdicts_version(self.verdicts, self.adapter_version)

    def as_json(self) -> dict[str, Any]:
        """The report without its pictures, as plain values."""
        return {
            "adapter": self.adapter,
            "adapter_version": self.adapter_version,
            "trigger": self.trigger,
            "base_model": self.base_model,
            "has_passed": self.has_passed,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
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
    name: str,
    use: AdapterUse,
    adapter_version: str,
    trigger: str | None,
    base_model: BaseModel,
    tier: str,
    renderer: Renderer,
    prompts: VerifyPrompts,
    thresholds: Thresholds,
    on_picture: OnPicture | None = None,
) -> VerificationReport:
    """Render each prompt without the adapter, with it, and with the control word for the trigger; judge.

    Change is measured on the same text, trigger included, so that only the adapter differs. An adapter that the
    renderer does not apply whole is a failed verdict, not an exception.
    """
    size = base_model.size_for(tier)
    applied: list[AppliedAdapter] = []
    done, total = 0, len(prompts.prompts) * (3 if trigger else 2)

    def render(text: str, seed: int, *, with_adapter: bool) -> Pixels:
        nonlocal done
        image = renderer.render(
            RenderRequest(
                base_model=base_model.name,
                positive_prompt=text,
                seed=seed,
                num_inference_steps=base_model.num_inference_steps,
                width_px=size.width_px,
                height_px=size.height_px,
                guidance=base_model.guidance,
                adapters=(use,) if with_adapter else (),
            )
        )
        if with_adapter:
            # a renderer that says nothing of the adapter has not applied it
            applied.extend(image.applied or (AppliedAdapter(use.path, use.lora_scale, 0, 0, 0, 0),))
        done += 1
        if on_picture is not None:
            on_picture(done, total)
        return image.pixels

    def text_with(word: str | None, prompt: str) -> str:
        return f"{word}, {prompt}" if word else prompt

    # all pictures without the adapter first: one swap of adapters instead of one a prompt
    plain = [render(text_with(trigger, item.prompt), item.seed, with_adapter=False) for item in prompts.prompts]
    pictures: list[PromptPictures] = []
    try:
        for item, without in zip(prompts.prompts, plain, strict=True):
            styled = render(text_with(trigger, item.prompt), item.seed, with_adapter=True)
            control = (
                render(text_with(prompts.control_word, item.prompt), item.seed, with_adapter=True) if trigger else None
            )
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
    except RenderError as error:
        verdicts = (judge_matching(None, "; ".join(fault.problem for fault in error.faults)),)
        return VerificationReport(name, adapter_version, trigger, base_model.name, verdicts, ())
    worst = min(applied, key=lambda item: (item.is_whole, item.keys_matched))
    verdicts = (
        judge_matching(worst),
        judge_change([p.ssim_changed for p in pictures], thresholds),
        judge_trigger([p.ssim_trigger for p in pictures if p.ssim_trigger is not None], thresholds, trigger),
    )
    return VerificationReport(name, adapter_version, trigger, base_model.name, verdicts, tuple(pictures))
