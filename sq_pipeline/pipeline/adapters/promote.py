"""A person's word on which version of an adapter is in use: promoting the newest, putting an earlier one back.

Not here: what comes of it (the asset `promoted_adapter`), and who said what before (`promotions`).
"""

from sq_pipeline.common.errors import Fault, VerificationError
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import NO_WORD, PersonsWord
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.enter_rollback import enter_rollback
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.promotions.sign_offs import SignOff
from sq_pipeline.pipeline.store import Record


def promote(
    context: Context, adapter: Adapter, by: str | None = None, because: str | None = None
) -> tuple[Record, bool]:
    """Promote what the adapter's line has made, in somebody's name; without one only where `sq.yaml` says
    `promotion: automatic`.

    One that was promoted before, and replaced since, needs nobody: it is put back, and returned with False. `because`:
    why one is used that failed a check. Raises VerificationError when it did not pass and nobody says why it is used
    all the same, or nobody is named.
    """
    if by is None and because is None:
        step = adapter_steps_of(context, adapter)["promoted_adapter"]
        if step.status == "blocked":
            reasons = "; ".join(step.reasons)
            raise VerificationError(Fault(step.asset, "", reasons, "an adapter that failed is never used"))
    return make_adapter_asset(context, adapter, "promoted_adapter", word=PersonsWord(by=by, because=because))


def roll_back(
    context: Context, adapter: Adapter, to: str | None, by: str, because: str | None = None
) -> tuple[SignOff, SignOff | None]:
    """Put an earlier version of an adapter back in use, in somebody's name; it stays until a person promotes another.

    `to`: the first digits of its data version; without, the one that was in use before. Returns it, and what it
    replaced. Raises SelectionError for one that never was in use, whose file is gone, or where nobody is named.
    """
    chosen, current = enter_rollback(context, adapter, to, by, because)
    make_adapter_asset(context, adapter, "promoted_adapter", word=NO_WORD)
    return chosen, current
