"""Check *trigger*: what the trigger does that a word without meaning does not: off/on × control/trigger."""

from sq_pipeline.verification.look import Look, skipped
from sq_pipeline.verification.measures.trigger import share_without_trigger
from sq_pipeline.verification.verdicts import Verdict, percent

NAME = "trigger"
ONLY, ANSWERS = 0.3, 0.9  # shares of the style without the trigger, up to which it shows only, or mostly, with it


def judge(look: Look) -> Verdict:
    """The share of the style that shows with the control word in the trigger's place: 1 − it is the trigger's effect.

    A style may be always on; a trigger that no caption holds may not be named, for it says nothing to the adapter.
    """
    request, trigger = look.request, look.request.trigger
    if trigger is None:
        return skipped(NAME, "the adapter has no trigger")
    reference = request.reference
    if reference is not None and reference.has_captions and not reference.captions_hold(trigger):
        detail = f"no caption of {reference.label} holds {trigger!r}: the adapter never saw it"
        return Verdict(NAME, "failed", 0.0, "a caption holds it", detail, null=0.0)
    if problem := _never_heard(look, trigger):
        return Verdict(NAME, "failed", 0.0, "more than a word that means nothing", problem, null=0.0)
    controls = look.camera.styled(request.use, look.prompts.control_word)
    without = share_without_trigger(look.base, look.styled, look.base_with_control, controls)
    detail = f"{_describe(without)}: {percent(without)} of the style shows with a word that means nothing in its place"
    effect = 1 - without
    if reference is None or not reference.trigger_is_required:
        return Verdict(NAME, "passed", effect, "any (the recipe does not ask for it)", detail, null=0.0)
    return look.verdict(NAME, "trigger_effect", effect, detail)


def _describe(without: float) -> str:
    if without <= ONLY:
        return "only with its trigger"
    return "answers to its trigger" if without <= ANSWERS else "always on"


def _never_heard(look: Look, trigger: str) -> str:
    """Why the trigger means nothing to the adapter, where pictures without captions cannot say that they hold it."""
    losses, reference = look.losses, look.request.reference
    if isinstance(losses, str) or reference is None or reference.has_captions:
        return ""
    best = max(look.losses_by_chance, default=0.0)
    if losses.as_trained > best:
        return ""
    return (
        f"{trigger!r} saves {percent(losses.as_trained)} of the loss, a word that means nothing {percent(best)}: "
        "the adapter does not know it"
    )
