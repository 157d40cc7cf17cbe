"""Which adapters are on the bench: every style's own, and each fault on several of them.

Not here: what a fault does (`faults`), making the files (`bench`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sq_pipeline.calibration.faults import BAD_TRAININGS, EDITS, MERGED, Reason
from sq_pipeline.calibration.styles import BENCH_STYLES

EACH_EDIT, EACH_TRAINING, EACH_TRIGGER = 4, 3, 2  # styles that a fault is made of
SAMPLE_STYLES = ("sepia_western", "neon")
NEVER_SEEN = "wexlibrum"
_OTHER = 4  # rows between a style and the one that it is confused with


@dataclass(frozen=True)
class Candidate:
    """One adapter, and what it is held against. `training`: whose file; `reference`: the style whose dataset and word.

    `edit`: the row of `EDITS` that is made of it, with the file of `other` in hand. `reasons`: empty for a good one,
    else what may fail. `bad_training`: the row of `BAD_TRAININGS` that it comes from.
    """

    training: str
    reference: str
    trigger: str
    edit: str = ""
    other: str = ""
    bad_training: str = ""
    reasons: tuple[Reason, ...] = ()

    @property
    def name(self) -> str:
        """What reports and files call it."""
        if self.edit or self.bad_training:
            return f"{self.training}: {self.edit or self.bad_training}"
        if self.training != self.reference:
            return f"{self.reference}: {self.training} in its place"
        return self.training if self.trigger == self.reference else f"{self.training}: a trigger that it never saw"

    @property
    def fault(self) -> str:
        """What is wrong with it; empty for a good one."""
        return self.name.partition(": ")[2] if self.training == self.reference else "another style"

    @property
    def styles(self) -> frozenset[str]:
        """Whose trainings or pictures it is made of."""
        return frozenset(filter(None, (self.training, self.reference, self.other)))


def candidates() -> tuple[Candidate, ...]:
    """All of the bench: good ones, then fault by fault."""
    return tuple(_all(tuple(BENCH_STYLES), EACH_EDIT, EACH_TRAINING, EACH_TRIGGER))


def sample() -> tuple[Candidate, ...]:
    """Two styles, and one adapter of each fault."""
    return tuple(_all(SAMPLE_STYLES, 1, 1, 1))


def _all(styles: Sequence[str], each_edit: int, each_training: int, each_trigger: int) -> Iterator[Candidate]:
    yield from (Candidate(style, style, style) for style in styles)
    for number, (name, edit) in enumerate(EDITS.items()):
        for style in _some(styles, number, each_edit):
            other = other_style(style, styles)
            reasons = (*(_foreign(style, other) if name == MERGED else ()), *edit.reasons)
            yield Candidate(style, style, style, edit=name, other=other, reasons=reasons)
    for number, (name, training) in enumerate(BAD_TRAININGS.items()):
        for style in _some(styles, number, each_training):
            yield Candidate(style, style, style, bad_training=name, reasons=training.reasons)
    looks = ("style_direction", "style_share", "style_distance", "loss_saved")
    for style in styles:
        other = other_style(style, styles)
        yield Candidate(other, style, style, reasons=(*_foreign(style, other), *looks))
    yield from (Candidate(style, style, NEVER_SEEN, reasons=("trigger",)) for style in _some(styles, 1, each_trigger))


def _foreign(style: str, other: str) -> tuple[Reason, ...]:
    """What another style's texture may fail of, where this one has none."""
    has_texture = [BENCH_STYLES[each].kind == "texture" for each in (style, other)]
    return ("foreign_texture",) if has_texture == [False, True] else ()


def _some(styles: Sequence[str], start: int, count: int) -> list[str]:
    """So many of the styles, evenly spread, each time others."""
    count = min(count, len(styles))
    return [styles[(start + index * len(styles) // count) % len(styles)] for index in range(count)]


def other_style(style: str, styles: Sequence[str]) -> str:
    """The style that it is confused with: one that looks otherwise."""
    at = styles.index(style)
    others = (styles[(at + step) % len(styles)] for step in range(_OTHER, _OTHER + len(styles)))
    # the same look may be there twice, once only on call
    return next(other for other in others if not style.startswith(other.partition("_")[0]))
