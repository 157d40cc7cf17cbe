"""All checks in the order of their price, and what each needs rendered. A new one is a file and a row here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.verification.checks import (
    change,
    checkpoint,
    file,
    loss,
    noise,
    size,
    strength,
    style,
    subject,
    trigger,
)
from sq_pipeline.verification.gate_limits import LimitName
from sq_pipeline.verification.look import Look
from sq_pipeline.verification.verdicts import Verdict

Shots = tuple[tuple[AdapterUse, str | None, int | None], ...]  # which adapter, word, first prompts


@dataclass(frozen=True)
class Check:
    """`judge` gives a verdict; `shots` are the pictures with an adapter that it looks at. `ends`: where it failed,
    pictures would say nothing.
    """

    name: str
    judge: Callable[[Look], Verdict]
    shots: Callable[[Look], Shots]
    ends: bool = False


def _none(_look: Look) -> Shots:
    return ()


def _styled(look: Look) -> Shots:
    return ((look.request.use, look.request.trigger, None),)


def _with_noise(look: Look) -> Shots:
    null = look.request.null_file
    if null is None or not noise.is_needed(look):
        return ()
    use = AdapterUse(null, look.request.use.lora_scale)
    return (*_styled(look), (use, look.request.trigger, noise.PROMPTS))


def _with_control(look: Look) -> Shots:
    return (*_styled(look), (look.request.use, look.prompts.control_word, None)) if look.request.trigger else ()


def _at_scales(look: Look) -> Shots:
    use, word = look.request.use, look.request.trigger
    scaled = (replace(use, lora_scale=use.lora_scale * scale) for scale in strength.SCALES)
    return (*_styled(look), *((each, word, strength.PROMPTS) for each in scaled))


BEFORE_PICTURES = (
    Check(file.NAME, file.judge, _none, ends=True),
    Check(size.NAME, size.judge, _none),
    Check(checkpoint.NAME, checkpoint.judge, _none),
    Check(loss.NAME, loss.judge, _none),
)
ON_PICTURES = (
    Check(change.NAME, change.judge, _styled),
    Check(*style.SHOWN, _styled),
    Check(*style.DIRECTED, _styled),
    Check(*style.NEAR, _styled),
    Check(*style.PURE, _styled),
    Check(subject.NAME, subject.judge, _styled),
    Check(noise.NAME, noise.judge, _with_noise),
    Check(trigger.NAME, trigger.judge, _with_control),
    Check(strength.NAME, strength.judge, _at_scales),
)


def most_pictures(prompts: int, *, has_trigger: bool, has_reference: bool) -> int:
    """How many pictures with an adapter a clear case takes at most."""
    first = min(prompts, strength.PROMPTS) * len(strength.SCALES)
    noisy = 0 if has_reference else min(prompts, noise.PROMPTS)
    return prompts * (2 if has_trigger else 1) + first + noisy


# Which limit a check's figure is held against.
LIMIT_OF: Mapping[str, LimitName] = {
    loss.NAME: "loss_saved",
    style.SHOWN[0]: "style_share",
    style.DIRECTED[0]: "style_direction",
    style.NEAR[0]: "style_distance",
    style.PURE[0]: "foreign_texture",
    subject.NAME: "subject_kept",
    noise.NAME: "over_noise",
    trigger.NAME: "trigger_effect",
}
