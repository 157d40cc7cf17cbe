"""A person's yes: promoting an adapter that passed its verification, in somebody's name."""

from sq_pipeline.common.errors import Fault, VerificationError
from sq_pipeline.common.hints import command
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import PersonsWord
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.chain import problems_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record


def promote(context: Context, adapter: Adapter, by: str | None = None) -> tuple[Record, bool]:
    """Promote the adapter in somebody's name; without one only where `sq.yaml` says `promotion: automatic`.

    One that was promoted before, and replaced since, needs nobody: it is put back, and returned with False.
    Raises VerificationError when it did not pass, or nobody is named.
    """
    step = adapter_steps_of(context, adapter)["promoted_adapter"]
    if step.because is not None and step.status != "blocked":
        fault = Fault(step.asset, "", "; ".join(problems_of(step)), f"bring it up to date with {command('run')}")
        raise VerificationError(fault)
    if step.status == "blocked":
        raise VerificationError(Fault(step.asset, "", "; ".join(step.reasons), "an adapter that failed is never used"))
    return make_adapter_asset(context, adapter, "promoted_adapter", word=PersonsWord(by=by))
