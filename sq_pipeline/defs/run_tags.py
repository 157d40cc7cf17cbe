"""What a run's tags say, whoever began it: what it is to make, and why.

Pages show tags beside a run, and sensors read them of runs that ended. Not here: which places it is for (`places`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from dagster import DagsterInstance

from sq_pipeline.common.fingerprints import fingerprint, short
from sq_pipeline.pipeline.context import Step
from sq_pipeline.pipeline.reasons import why_all

LINE_TAG = "sq/line"  # what one run of a sensor is for: a tier of a world, what is kept of one, or an adapter
WANTS_TAG = "sq/wants"  # what it is to make, as `want_of` has it
REASONS_TAG = "sq/reasons"
_DIGITS = 6  # of an asset's name, and of its inputs: two that share them would cost a wait, no more
_MOST_TEXT = 2000  # characters: a list of runs shows its tags


def want_of(step: Step) -> str:
    """One asset made from its inputs, in twelve digits."""
    return short(fingerprint({"asset": step.asset}), _DIGITS) + short(step.fingerprint, _DIGITS)


def asset_of(want: str) -> str:
    """The digits that stand for the asset."""
    return want[:_DIGITS]


def wants_in(tags: Mapping[str, str]) -> list[str]:
    """What a run with these tags was to make."""
    text, size = tags.get(WANTS_TAG, ""), 2 * _DIGITS
    return [text[at : at + size] for at in range(0, len(text), size)]


def tags_for(steps: Collection[Step]) -> dict[str, str]:
    """The tags of a run that is to make these."""
    return {WANTS_TAG: "".join(sorted(map(want_of, steps))), REASONS_TAG: _text(why_all(steps))}


def note_steps(instance: DagsterInstance, run_id: str, steps: Sequence[Step], said: str = "") -> None:
    """Have a run say that it is about to make these too: one that a person began says nothing yet.

    `said`: what a person said to them, in place of their reasons.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        return
    known, due = set(wants_in(run.tags)), [step for step in steps if step.is_to_do]
    if said or {want_of(step) for step in due} - known or REASONS_TAG not in run.tags:
        told = run.tags[REASONS_TAG].splitlines() if REASONS_TAG in run.tags else []
        lines = dict.fromkeys([*told, *([said] if said else why_all(due or steps))])
        tags = {WANTS_TAG: "".join(sorted(known | set(map(want_of, due)))), REASONS_TAG: _text(lines)}
        instance.add_run_tags(run_id, tags)


def _text(lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"
