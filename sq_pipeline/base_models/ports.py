"""What is asked of an engine whatever it does: who it is, and how many tokens a text has. Not here: any engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class EngineDescription:
    """Who does the work. `versions` (mlx, mflux, the engine's own) enters fingerprints; `chip` only provenance."""

    name: str
    versions: Mapping[str, str]
    chip: str


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of a prompt, end marks included, and how many of them the base model's `encoder` reads.

    FLUX.1's is T5, and it reads a pooled vector through CLIP besides; `clip` and its budget are None for other models.
    `known`: tokens of the text itself that are neither blank nor the one for all that the vocabulary lacks; None where
    nobody counted them. `broken`: words of which it lacks half of
    the characters, and reads these as bytes or not at all.
    """

    encoder: Literal["T5", "Qwen3"]
    tokens: int
    budget: int
    clip: int | None = None
    clip_budget: int | None = None
    known: int | None = None
    broken: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """True when no encoder cuts anything off."""
        return self.tokens <= self.budget and not self.is_cut_by_clip

    @property
    def is_cut_by_clip(self) -> bool:
        """True when there is a CLIP that sees the beginning only."""
        return self.clip is not None and self.clip_budget is not None and self.clip > self.clip_budget

    def nothing_known_of(self, word: str) -> str:
        """Why a word, whose counts these are, is as good as any other that is not known; empty where it is known."""
        return f"{self.encoder} has no token for {word!r}: it reads nothing of it" if self.known == 0 else ""

    def as_json(self) -> dict[str, int]:
        """Counts and budgets, each under the name of its encoder: `t5_tokens`, `clip_budget`, `qwen3_tokens`."""
        name = self.encoder.lower()
        found: dict[str, int] = {f"{name}_tokens": self.tokens, f"{name}_budget": self.budget}
        if self.clip is not None and self.clip_budget is not None:
            found |= {"clip_tokens": self.clip, "clip_budget": self.clip_budget}
        return found


class TokenCounter(Protocol):
    """Counts with a base model's own tokenizers. Cheap: loads no weights."""

    def count_tokens(self, text: str) -> TokenCounts: ...
