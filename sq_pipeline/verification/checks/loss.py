"""Check *loss*: what the adapter saves of the base model's loss on the reference's pictures."""

from sq_pipeline.verification.look import Look, skipped
from sq_pipeline.verification.verdicts import Verdict, percent

NAME = "loss saved"


def judge(look: Look) -> Verdict:
    """The lesser of two: with captions as they were trained, and with trigger and sentence as prompts have them.

    Only an adapter of these pictures saves much, nothing saves 0, and one that learned to stay out of long prompts
    saves under its bare trigger alone. A subject is judged by its captions: a prompt's sentence is none of it.
    """
    losses = look.losses
    if isinstance(losses, str):
        return skipped(NAME, losses)
    reference = look.request.reference
    label, is_style = (reference.label, reference.is_style) if reference is not None else ("the dataset", True)
    saved = min(losses.as_trained, losses.as_asked) if is_style else losses.as_trained
    if saved < 0:
        detail = f"does not know {label}: it raises the base model's loss on its pictures by {percent(-saved)}"
    else:
        detail = (
            f"saves {percent(losses.as_trained)} of the base model's loss on {losses.pictures} pictures of {label} as "
            f"they are captioned, {percent(losses.as_asked)} with a prompt's sentence"
        )
    return look.verdict(NAME, "loss_saved", saved, detail)
