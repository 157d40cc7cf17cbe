"""Check *against noise*: does the adapter change more than the same file with its outputs exchanged at random?"""

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.verification.look import Look, skipped
from sq_pipeline.verification.measures.change import mean_change
from sq_pipeline.verification.verdicts import Verdict

NAME = "against noise"
PROMPTS = 2  # the change of noise hardly depends on the prompt


def is_needed(look: Look) -> bool:
    """True where neither the loss nor the style's pictures say whose adapter this is."""
    has_style = not isinstance(look.style, str) and bool(look.style.counting)
    return look.request.measures_noise or (isinstance(look.losses, str) and not has_style)


def judge(look: Look) -> Verdict:
    """About 1 for noise, another base model's file, exchanged blocks, and what is so strong that pictures burst.

    For files without a reference: with one, loss and style tell the same and more. A style that is nothing but a
    texture all over the picture looks like noise to it.
    """
    null = look.request.null_file
    if null is None:
        return skipped(NAME, "the file cannot be opened for it")
    if not is_needed(look):
        return skipped(NAME, "the reference tells more")
    use = look.request.use
    noise = look.camera.styled(AdapterUse(null, use.lora_scale), look.request.trigger, PROMPTS)
    by_noise, by_adapter = mean_change(noise, look.base[:PROMPTS]), mean_change(look.styled, look.base)
    ratio = by_adapter / by_noise if by_noise > 0 else 0.0
    detail = f"changes pictures by {by_adapter:.1f} ΔE, its own numbers in random places by {by_noise:.1f}"
    return look.verdict(NAME, "over_noise", ratio, detail)
