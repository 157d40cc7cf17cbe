"""Putting an earlier version of an adapter back in use: which one is meant, and writing it down.

Not here: what comes of it (the asset `promoted_adapter`).
"""

from sq_pipeline.common.errors import Fault, SelectionError
from sq_pipeline.common.fingerprints import begins_with, short
from sq_pipeline.common.hints import command
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.promotions.sign_offs import SignOff, add_sign_off, now_text, read_sign_offs, sign_off_in_use
from sq_pipeline.pipeline.promotions.version_files import find_file, put_into_store

PREVIOUS = "previous"  # in place of a version: the one that was in use before


def enter_rollback(
    context: Context, adapter: Adapter, to: str | None, by: str, because: str | None = None
) -> tuple[SignOff, SignOff | None]:
    """Write down that a version is put back, in somebody's name; see `promote.roll_back`. Raises SelectionError."""
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
    found = [one for one in reversed(sign_offs) if begins_with(one.adapter_version, to or "")]
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
