"""The states that a picture of the gallery is in, in the order in which they are counted; a new one is a line.

They are told apart by the same steps that `plan` prints. Not here: finding the steps (`pipeline.worlds`).
"""

from collections.abc import Callable, Mapping

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


def state_of(context: Context, step: Step) -> str:
    """One of `STATES`."""
    return next((state for state, is_so in _TESTS.items() if is_so(context, step)), "stale")
