"""Do the adapters of a stack hold together? Each still shows beside the others, and each picture keeps its subject.

Advice: each adapter has passed its own verification, and how they go together is for an author to see. Not here: the
pictures (`camera`), when a stack is looked at (`pipeline.worlds`).
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.processes.progress import progress_of
from sq_pipeline.pictures.ports import Renderer
from sq_pipeline.pictures.sheets import Tile, draw_sheet
from sq_pipeline.telemetry.spans import span
from sq_pipeline.verification.camera import Camera, Pictures
from sq_pipeline.verification.gate_limits import STACK_SHOWN, Limits
from sq_pipeline.verification.measures.subject import subject_kept
from sq_pipeline.verification.measures.trigger import colours_gone, share_of
from sq_pipeline.verification.prompts import VerifyPrompts
from sq_pipeline.verification.verdicts import Outcome, Verdict, percent

MOST_PICTURES = 16  # with adapters, of a stack of up to three
_FEWEST_PROMPTS = 2  # that can be told apart


@dataclass(frozen=True)
class StackRequest:
    """`stack`: what people call it. `members`: its adapters by name, in order, each with its strength in this world.

    `word`: what stands before each prompt, their triggers.
    """

    stack: str
    members: Mapping[str, AdapterUse]
    word: str
    base_model: BaseModel
    tier: str
    prompts: VerifyPrompts
    limits: Limits


@dataclass(frozen=True)
class StackReport:
    """A verdict for each adapter, one for the subject; the pictures, by prompt: the base model's, each adapter's alone,
    and of all together, `(height, width, 3)` uint8 each.
    """

    stack: str
    verdicts: tuple[Verdict, ...]
    base: Pictures
    alone: Mapping[str, Pictures]
    together: Pictures

    @property
    def sentence(self) -> str:
        """What an author should know, in one sentence."""
        short = [verdict.detail for verdict in self.verdicts if verdict.outcome != "passed"]
        return "; ".join(short) or "its adapters hold together"

    @property
    def holds(self) -> bool:
        """True where nothing fell short."""
        return all(verdict.outcome == "passed" for verdict in self.verdicts)

    def as_json(self) -> dict[str, Any]:
        """The report without its pictures, as plain values."""
        return {"sentence": self.sentence, "holds": self.holds, "verdicts": [asdict(each) for each in self.verdicts]}


def prompts_of_stack(prompts: int, members: int) -> int:
    """How many of a tier's prompts a stack of so many adapters is looked at with, so that it takes no more than 16
    pictures.
    """
    return min(prompts, max(_FEWEST_PROMPTS, MOST_PICTURES // sets_of_stack(members)))


def sets_of_stack(members: int) -> int:
    """How many pictures of each prompt a look takes: with each alone, with all, and with all but one."""
    return members + 1 + (members if members > 2 else 0)


def check_stack(request: StackRequest, renderer: Renderer) -> StackReport:
    """Render and measure; everything on the same text and seed, so that only the adapters differ. Raises RenderError.

    What an adapter adds to the others is held against what it does alone: 1 where they do not touch each other, 0 where
    it is drowned, or is not there at all.
    """
    members = len(request.members)
    first = prompts_of_stack(len(request.prompts.prompts), members)
    shown = progress_of(f"looking at the stack of {request.stack}", first * (1 + sets_of_stack(members)))
    with span("flux_mlx.check_stack", {"stack.name": request.stack, "stack.adapters": members}) as told, shown as tells:
        camera = Camera(request.base_model, request.tier, request.prompts, renderer, tells.reach)
        uses = tuple(request.members.values())

        def shot(stack: tuple[AdapterUse, ...]) -> Pictures:
            return camera.stacked(stack, request.word, first)

        base = shot(())
        alone = {name: shot((use,)) for name, use in request.members.items()}
        together = shot(uses)
        verdicts: list[Verdict] = []
        for number, (name, pictures) in enumerate(alone.items()):
            others = shot((*uses[:number], *uses[number + 1 :]))
            own = colours_gone(base, pictures, units_from=base)
            share = share_of(colours_gone(others, together, units_from=base), own)
            verdicts.append(_shown(name, share if own.any() else None, request.limits))
        verdicts.append(_kept(subject_kept(together, base) if first > 1 else None, request.limits))
        report = StackReport(request.stack, tuple(verdicts), base, alone, together)
        told.set({"stack.holds": report.holds, "stack.pictures": camera.taken})
        return report


def _shown(name: str, share: float | None, limits: Limits) -> Verdict:
    found = limits.of_stack()
    outcome: Outcome = "passed" if share is not None and share >= found.limit else "warned"
    if share is None:
        detail = f"{name} does nothing to colours, not even alone"
    else:
        detail = f"{name} shows {percent(share)} of what it does alone beside the other adapters"
    wanted = f"≥ {found.limit:.3g} ({limits.reason_of_stack()})"
    return Verdict(f"{STACK_SHOWN}: {name}", outcome, share, wanted, detail, found.limit, found.nothing, found.good)


def _kept(kept: float | None, limits: Limits) -> Verdict:
    name, found = "subject kept together", limits.of("subject_kept")
    if kept is None:
        return Verdict(name, "passed", None, "", "one prompt cannot be told from another")
    detail = f"together they keep {percent(kept)} of each prompt's own composition"
    wanted = f"≥ {found.limit:.3g} ({limits.reason('subject_kept')})"
    outcome: Outcome = "passed" if limits.is_met("subject_kept", kept) else "warned"
    return Verdict(name, outcome, kept, wanted, detail, found.limit, found.nothing, found.good)


def draw_stack_sheet(report: StackReport) -> bytes:
    """A PNG: a row a prompt with the base model's picture, each adapter's alone, and that of all together."""
    buffer = io.BytesIO()
    title = f"{report.stack}: {report.sentence}"
    draw_sheet([list(row) for row in zip(*_columns(report), strict=True)], title=title).save(buffer, format="PNG")
    return buffer.getvalue()


def _columns(report: StackReport) -> Iterator[Sequence[Tile]]:
    for label, pictures in (("base", report.base), *report.alone.items(), ("together", report.together)):
        yield [Tile(picture, label) for picture in pictures]
