"""What is to be told of the adapters that a world's pictures stand on: another one than the newest, or one that failed.

Not here: which those are (`worlds.stack`), and who chose them (`pipeline.promotions`).
"""

from collections.abc import Mapping

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.fingerprints import short
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import Adapter, World
from sq_pipeline.content.stacks import stack_for
from sq_pipeline.pipeline.adapters.adapter_asset import Steps
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.signing import failed_checks, judged_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.promotions.sign_offs import SignOff, in_use, yes_for


def notes_of(context: Context, world: World, tier: Tier, known: Mapping[str, Steps] | None = None) -> tuple[str, ...]:
    """A line for each adapter of a tier's stack that there is something to tell of. `known`: steps, by adapter."""
    notes: list[str] = []
    for entry in stack_for(world, tier):
        adapter = context.catalog.adapters[f"{world.genre}/{entry.name}"]
        steps = (known or {}).get(adapter.key) or adapter_steps_of(context, adapter)
        if note := note_of(context, adapter, steps):
            notes.append(f"{adapter.name}: {note}")
    return tuple(notes)


def note_of(context: Context, adapter: Adapter, steps: Steps) -> str | None:
    """`in use: version … promoted by Ada on …; a newer one waits for a person`; None where nothing is to be told."""
    try:
        current = in_use(context, adapter)
        newer = None if current is None else _newer(context, adapter, steps, current)
    except SqPipelineError:
        return None  # its step says so
    if current is None or not (newer or current.failed):
        return None
    failed = f"it did not pass: {current.failed[0]}" if current.failed else ""
    return "; ".join(filter(None, (f"in use: {current.describe()}", failed, newer)))


def _newer(context: Context, adapter: Adapter, steps: Steps, current: SignOff) -> str:
    """What became of what the line has made since; empty where that is what is in use, or nothing is made yet."""
    if steps["verification"].record is None:
        return ""
    judged = judged_of(steps)
    if current.is_for(judged):
        return ""
    is_other = judged.adapter_version != current.adapter_version
    name = f"a newer one ({short(judged.adapter_version)})" if is_other else "as it is verified now, it"
    if yes_for(context, adapter, judged) is not None:
        return f"{name} is not used" if current.act == "rollback" else ""
    if failed := failed_checks(steps):
        return f"{name} did not pass: {failed[0]}"
    return f"{name} waits for a person" if steps["promoted_adapter"].status == "waiting" else ""
