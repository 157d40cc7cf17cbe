"""Check *strength*: do pictures go further when the adapter is turned up, and not past the point where they burst?"""

from dataclasses import replace

from sq_pipeline.verification.look import Look
from sq_pipeline.verification.measures.change import mean_change
from sq_pipeline.verification.measures.subject import subject_kept
from sq_pipeline.verification.verdicts import Outcome, Verdict

NAME = "strength"
SCALES = (0.5, 1.5)
PROMPTS = 2


def judge(look: Look) -> Verdict:
    """Change at half and one and a half times the strength; proposes the scales at which subjects are kept.

    Advice only: what is wrong with an adapter at its own strength, the other checks say.
    """
    use, trigger, base = look.request.use, look.request.trigger, look.base[:PROMPTS]
    pictures = {1.0: look.styled[:PROMPTS]}
    for scale in SCALES:
        pictures[scale] = look.camera.styled(replace(use, lora_scale=use.lora_scale * scale), trigger, PROMPTS)
    changes = {scale: mean_change(found, base) for scale, found in sorted(pictures.items())}
    rising = list(changes.values()) == sorted(changes.values())
    least = look.request.limits.of("subject_kept").limit
    can_tell = len(base) > 1  # one prompt's subject cannot be told from another's
    sound = [scale for scale, found in sorted(pictures.items()) if can_tell and subject_kept(found, base) >= least]
    told = [", ".join(f"{change:.1f} ΔE at {scale:g}" for scale, change in changes.items())]
    if can_tell:
        told.append(f"subjects hold from {sound[0]:g} to {sound[-1]:g}" if sound else "subjects hold at none of these")
    outcome: Outcome = "passed" if rising and (sound or not can_tell) else "warned"
    last, before = changes[1.5], changes[0.5]
    figure = (last - before) / last if last > 0 else 0.0
    return Verdict(NAME, outcome, figure, "rises with the scale (advice)", "; ".join(told), null=0.0)
