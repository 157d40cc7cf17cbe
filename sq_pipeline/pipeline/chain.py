"""Which step upstream a step is not fresh for, and so on up to the first one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sq_pipeline.pipeline.context import Step
from sq_pipeline.pipeline.explain import describe_chain

_MOST_CAUSES = 3


def chain_of(step: Step) -> tuple[str, ...]:
    """The assets that led to a step, from the nearest to the first; none for a step that is itself the first."""
    return tuple(cause.asset for cause in _causes(step))


def follow(upstream: Sequence[Step], asset: str, kind: str) -> Step:
    """An asset that comes after these steps, none of which is there: pending, or blocked where one cannot be made.

    A reason for each of them; those with one cause in common, such as a world's pictures, are one.
    """
    reasons: dict[tuple[str, ...], str] = {}
    for step in upstream:
        chain = [step, *_causes(step)]
        first = chain[-1]
        key = (step.asset,) if first is step else tuple(cause.asset for cause in chain[1:])
        reasons.setdefault(key, describe_chain([cause.asset for cause in chain], first.reasons))
    lines = list(reasons.values())[:_MOST_CAUSES]
    if len(upstream) > len(lines):
        lines.append(f"and {len(upstream) - len(lines)} more")
    stopped = next(iter(sorted((step for step in upstream if not step.is_to_do), key=is_waiting)), None)
    status = "pending" if stopped is None else "blocked"
    return Step(asset, kind, status, reasons=tuple(lines), because=stopped or upstream[0])


def trace(step: Step, upstream: Sequence[Step]) -> Step:
    """A step whose inputs are known, with the first of its neighbours upstream that is not fresh either."""
    if step.status == "fresh":
        return step
    return replace(step, because=next((cause for cause in upstream if cause.status != "fresh"), None))


def is_waiting(step: Step) -> bool:
    """True where nothing is at fault: the step, or what it is blocked by, waits for a person."""
    return step.status == "waiting" or (
        step.status == "blocked" and any(cause.status == "waiting" for cause in _causes(step))
    )


def problems_of(step: Step) -> list[str]:
    """The reasons of a step that cannot be made now, as an error says them."""
    return [f"cannot be made yet, {reason}" if step.because else reason for reason in step.reasons]


def _causes(step: Step) -> Iterator[Step]:
    while step.because is not None:
        step = step.because
        yield step
