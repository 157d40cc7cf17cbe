"""A failed step's error, as Dagster keeps it. Here: what people are told of it, and whether it was an interrupt."""

import re

from dagster_shared.error import SerializableErrorInfo


def is_interrupt(error: SerializableErrorInfo | None) -> bool:
    """True where it is the end of a run that a person stopped."""
    while error is not None:
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            return True
        error = error.cause
    return False


def reason_of(error: SerializableErrorInfo | None) -> str:
    """A step's failure in one line, without the names of classes."""
    if error is None:
        return "failed"
    told = error.cause or error
    if told.cls_name == "DagsterAssetCheckFailedError":
        return "did not pass its check; its report says why"
    return "; ".join(re.sub(r"^[\w.]+: ", "", told.message.strip(), count=1).splitlines())
