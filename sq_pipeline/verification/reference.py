"""The pictures that an adapter's style is held against: its dataset's, or a folder that a person names.

Not here: reading a folder (`pipeline.reference_pictures`), what is measured (`measures`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.common.words import find_word
from sq_pipeline.verification.measures.features import Pixels

MOST_PICTURES = 48  # that the style is taken from, evenly spread; more change its means by less than their spread does
LEAST_PICTURES = 4  # fewer say nothing of how much they vary

ReadPictures = Callable[[SizePx], tuple[Pixels, ...]]


@dataclass(frozen=True)
class Reference:
    """`captions`: one for each of `pictures`, "" where there is none. `label`: what people call the folder.

    `held_out`: the numbers of the pictures that no training saw. `loss_size` and `guidance` are those of the training.
    `is_style` False: the pictures teach a subject, and how they look is not held against them. `read`: some of the
    pictures, cut and scaled to a size, `(height, width, 3)` uint8 each. `notes`: what of the folder was left out.
    """

    label: str
    pictures: tuple[Path, ...]
    captions: tuple[str, ...]
    held_out: tuple[int, ...]
    loss_size: SizePx
    guidance: float
    read: ReadPictures = field(compare=False)
    background: str | None = None
    is_style: bool = True
    trigger_is_required: bool = False
    modules: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_captions(self) -> bool:
        """True where some picture has one."""
        return any(self.captions)

    def captions_hold(self, trigger: str) -> bool:
        """True where a caption has the word in it, for itself."""
        return any(find_word(trigger, caption) is not None for caption in self.captions)
