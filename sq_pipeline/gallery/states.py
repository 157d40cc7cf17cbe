"""The states that a picture of the gallery is in, in the order in which they are counted; a new one is a line.

They are told apart by the same steps that `plan` prints. Not here: finding the steps (`pipeline.worlds`).
"""

from collections.abc import Callable, Iterable, Mapping

from sq_pipeline.content.records import Choice
from sq_pipeline.pipeline.chain import is_waiting
from sq_pipeline.pipeline.context import Context, Step

DRAFT = "draft"  # expected, and never made by itself: it has no step
RENDERING = "rendering"  # what a run says that it is at, whatever the step says

STATES: Mapping[str, str] = {
    RENDERING: "is being rendered now",
    "failed": "cannot be made: something is at fault",
    "waiting": "waits for a person",
    "new": "was never made",
    "stale": "is to be made again",
    "pending": "is made after something that it depends on",
    "fresh": "is as it should be",
    "locked": "is kept by a person, whatever changes",
    "adopted": "is a person's own file, and stays",
    DRAFT: "is a draft, and is not made by itself",
}

# asked in this order
_TESTS: Mapping[str, Callable[[Context, Step], bool]] = {
    "waiting": lambda _, step: is_waiting(step),
    "failed": lambda _, step: step.status == "blocked",
    "pending": lambda _, step: step.status == "pending",
    "fresh": lambda _, step: step.status == "fresh",
    "new": lambda context, step: step.record is None and context.store.read_current_fingerprint(step.asset) is None,
}


_KEPT: Mapping[str, str] = {"lock": "locked", "adopt": "adopted"}  # by what a person did; otherwise it is fresh


def state_of(context: Context, step: Step, kept: Choice | None = None) -> str:
    """One of `STATES`. `kept`: what a person decided of it, if they keep it."""
    found = next((state for state, is_so in _TESTS.items() if is_so(context, step)), "stale")
    return kept_state(kept) if found == "fresh" else found


def kept_state(kept: Choice | None) -> str:
    """The state of a picture of which nothing is to do."""
    return _KEPT.get(kept.act, "fresh") if kept is not None else "fresh"


def why_kept(kept: Choice, otherwise: Iterable[str]) -> str:
    """Who keeps it, and what would happen if nobody did."""
    reasons = "; ".join(otherwise)
    return f"{kept.describe}; would be made again because {reasons}" if reasons else kept.describe
