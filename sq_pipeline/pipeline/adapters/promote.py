"""A person's word on which version of an adapter is in use: promoting the newest, putting an earlier one back.

Not here: what comes of it (the asset `promoted_adapter`), and who said what before (`promotions`).
"""

from sq_pipeline.common.errors import Fault, SelectionError, VerificationError
from sq_pipeline.common.fingerprints import short
from sq_pipeline.common.hints import command
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import NO_WORD, PersonsWord
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.promotions.sign_offs import SignOff, add_sign_off, now_text, read_sign_offs, sign_off_in_use
from sq_pipeline.pipeline.promotions.version_files import find_file, put_into_store
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
    sign_offs, current = read_sign_offs(context.data, adapter), sign_off_in_use(context.data, adapter)
    faults: list[Fault] = []
    if not by.strip():
        faults.append(Fault(adapter.key, "by", "nobody is named", "say who promotes it"))
    if because is not None and not because.strip():
        faults.append(Fault(adapter.key, "because", "is empty", "say why, or leave it out"))
    if faults:
        raise SelectionError(faults)
    target = _earlier(adapter, sign_offs, current, to)
    stored = put_into_store(context, adapter, target)
    if stored is None:
        there = [one for one in sign_offs if find_file(context, adapter, one) is not None]
        problem = f"the file of {target.describe()} is neither in the store nor in the archive"
        raise SelectionError(Fault(adapter.key, "to", problem, _known(there)))
    chosen = target.model_copy(
        update={
            "act": "rollback",
            "file": adapter.file,
            "adapter_sha256": stored.sha256,
            "promoted_by": by.strip(),
            "promoted_at": now_text(),
            "because": because.strip() if because else (target.because if target.failed else None),
        }
    )
    add_sign_off(context, adapter, chosen)
    make_adapter_asset(context, adapter, "promoted_adapter", word=NO_WORD)
    return chosen, current


def _earlier(adapter: Adapter, sign_offs: tuple[SignOff, ...], current: SignOff | None, to: str | None) -> SignOff:
    """The latest sign-off of the version that is meant."""
    if not sign_offs:
        hint = f"see {command('plan')}"
        raise SelectionError(Fault(adapter.key, "", "was never promoted, so there is nothing to put back", hint))
    others = [one for one in reversed(sign_offs) if current is None or one.adapter_version != current.adapter_version]
    if to is None:
        if not others:
            problem = "no other version was ever promoted"
            raise SelectionError(Fault(adapter.key, "", problem, f"see {command('adapter history', adapter.name)}"))
        return others[0]
    found = [one for one in reversed(sign_offs) if to and short(one.adapter_version, 64).startswith(short(to, 64))]
    versions = {one.adapter_version for one in found}
    if len(versions) != 1:
        problem = f"no version begins with {to!r}" if not versions else f"{to!r} is the beginning of several versions"
        raise SelectionError(Fault(adapter.key, "to", problem, _known(sign_offs)))
    if current is not None and versions == {current.adapter_version}:
        raise SelectionError(Fault(adapter.key, "to", f"{current.describe()}, is in use", _known(others)))
    return found[0]


def _known(sign_offs: tuple[SignOff, ...] | list[SignOff]) -> str:
    names = dict.fromkeys(short(one.adapter_version) for one in sign_offs)
    return f"known are {', '.join(names) or 'none'}"
