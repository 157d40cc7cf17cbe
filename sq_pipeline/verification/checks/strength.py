"""Check *strength*: do pictures go further when the adapter is turned up, and at which scales is it sound?"""

from collections.abc import Mapping
from dataclasses import replace

from sq_pipeline.verification.camera import Pictures
from sq_pipeline.verification.look import Look
from sq_pipeline.verification.measures.change import mean_change
from sq_pipeline.verification.measures.subject import subject_kept
from sq_pipeline.verification.verdicts import Outcome, Verdict

NAME = "strength"
SCALES = (0.5, 1.5)
PROMPTS = 2


def judge(look: Look) -> Verdict:
    """Change at half and one and a half times the strength; proposes the scales at which subjects are kept and, where
    there is a reference, enough of its style shows.

    Advice only: what is wrong with an adapter at its own strength, the other checks say. The range stays with the
    verdict, and `plan` holds the scales of worlds against it.
    """
    use, trigger, base = look.request.use, look.request.trigger, look.base[:PROMPTS]
    pictures = {1.0: look.styled[:PROMPTS]}
    for scale in SCALES:
        pictures[scale] = look.camera.styled(replace(use, lora_scale=use.lora_scale * scale), trigger, PROMPTS)
    pictures = dict(sorted(pictures.items()))
    changes = {scale: mean_change(found, base) for scale, found in pictures.items()}
    rising = list(changes.values()) == sorted(changes.values())
    told = [", ".join(f"{change:.1f} ΔE at {scale:g}" for scale, change in changes.items())]
    can_tell = len(base) > 1  # one prompt's subject cannot be told from another's
    sound = _sound_scales(look, pictures) if can_tell else []
    if can_tell:
        told.append(f"sound from {sound[0]:g} to {sound[-1]:g}" if sound else "sound at none of these")
    outcome: Outcome = "passed" if rising and (sound or not can_tell) else "warned"
    last, before = changes[1.5], changes[0.5]
    figure = (last - before) / last if last > 0 else 0.0
    scales = (sound[0], sound[-1]) if sound else None
    wanted = "rises with the scale (advice)"
    return Verdict(NAME, outcome, figure, wanted, "; ".join(told), null=0.0, sound_scales=scales)


def _sound_scales(look: Look, pictures: Mapping[float, Pictures]) -> list[float]:
    """Where subjects are kept, and the style shows: of two prompts, so by half of what the style's own check wants."""
    base, limits, target = look.base[:PROMPTS], look.request.limits, look.target
    is_style = look.request.reference is not None and look.request.reference.is_style
    found: list[float] = []
    for scale, shown in pictures.items():
        is_kept = limits.is_met("subject_kept", subject_kept(shown, base))
        style = target.measure(shown, base) if is_style and not isinstance(target, str) else None
        is_faint = style is not None and style.counting and style.share < limits.of("style_share").limit / 2
        if is_kept and not is_faint:
            found.append(scale)
    return found
