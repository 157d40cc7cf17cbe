"""Captions that a text encoder would cut off: none is trained on with its end missing."""

from collections.abc import Sequence

from sq_pipeline.common.errors import Fault, TrainingError


def check_caption_lengths(captions: Sequence[str], counts: Sequence[int], budget: int) -> None:
    """Raises TrainingError with every caption whose count of tokens is above the budget."""
    faults = [
        Fault("", f"caption {caption[:60]!r}", f"has {count} tokens, {budget} are read", "shorten it")
        for caption, count in zip(captions, counts, strict=True)
        if count > budget
    ]
    if faults:
        raise TrainingError(faults)
