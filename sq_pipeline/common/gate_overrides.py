"""Limits of the gate that a person sets: in `sq.yaml` for all, a tier or an adapter, in `lora.yaml` for one training.

Not here: the limits that are found by measuring, and judging by any (`verification`).
"""

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GateLimit(_Strict):
    """A limit that a person set."""

    value: float = Field(allow_inf_nan=False)
    """The limit."""
    reason: str = Field(pattern=r"\S")
    """Why it stands there; the report says it again."""


class GateOverrides(_Strict):
    """Limits in place of the calibrated ones. Left out: the calibrated one."""

    loss_saved: GateLimit | None = None
    """Least share of the base model's validation loss that the adapter saves."""
    style_share: GateLimit | None = None
    """Least share of the way from the base model's pictures to the dataset's."""
    style_direction: GateLimit | None = None
    """Least cosine between the way that pictures go and the way to the dataset's."""
    style_distance: GateLimit | None = None
    """Largest distance to the dataset, as a share of the base model's: above 1, pictures move away from it."""
    foreign_texture: GateLimit | None = None
    """Largest power that pictures gain in a frequency where the dataset has none, in units of how it varies."""
    subject_kept: GateLimit | None = None
    """Least share of each prompt's own composition that is kept."""
    over_noise: GateLimit | None = None
    """Least change, over that of the same file with its outputs exchanged at random."""
    trigger_effect: GateLimit | None = None
    """Least share of the style that the trigger adds over a word that means nothing, where the trigger is required."""
    stack_shown: GateLimit | None = None
    """Least share of what an adapter does alone that it does beside the others of a world's stack; advice."""

    def over(self, other: "GateOverrides") -> "GateOverrides":
        """These, and of the other ones those that are not said here."""
        return other.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})
