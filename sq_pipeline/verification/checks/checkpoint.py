"""Check *checkpoint*: what the choice among a training's checkpoints found out about the one that was taken."""

from sq_pipeline.verification.look import Look, skipped
from sq_pipeline.verification.verdicts import Verdict

NAME = "checkpoint"


def judge(look: Look) -> Verdict:
    """One that takes over the composition fails, whoever chose it: its choice looked at it at full strength."""
    found = look.request.checkpoint
    if found is None:
        return skipped(NAME, "it was not chosen among checkpoints")
    wanted = "is not overtrained"
    if found.is_overtrained:
        detail = f"iteration {found.iteration} is overtrained: it takes over the composition"
        return Verdict(NAME, "failed", None, wanted, detail)
    return Verdict(NAME, "passed", None, wanted, f"iteration {found.iteration} keeps subjects apart")
