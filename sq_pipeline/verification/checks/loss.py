"""Check *loss*: what the adapter saves of the base model's loss on the reference's pictures."""

from sq_pipeline.verification.look import Look, skipped
from sq_pipeline.verification.verdicts import Verdict, percent

NAME = "loss saved"


def judge(look: Look) -> Verdict:
    """With captions as they were trained: only an adapter of these pictures saves much. Nothing saves 0."""
    losses = look.losses
    if isinstance(losses, str):
        return skipped(NAME, losses)
    label = look.request.reference.label if look.request.reference is not None else "the dataset"
    if losses.as_trained < 0:
        detail = (
            f"does not know {label}: it raises the base model's loss on its pictures by {percent(-losses.as_trained)}"
        )
    else:
        detail = (
            f"saves {percent(losses.as_trained)} of the base model's loss on {losses.pictures} pictures of {label} as "
            f"they are captioned, {percent(losses.as_asked)} with a prompt's sentence"
        )
    return look.verdict(NAME, "loss_saved", losses.as_trained, detail)
