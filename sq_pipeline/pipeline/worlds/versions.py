"""Versions of an adapter, to look at pictures with them: which there are, and the file behind each.

Not here: putting one into use (`adapters.promote`).
"""

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.fingerprints import begins_with, fingerprint, short
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.enter_rollback import PREVIOUS
from sq_pipeline.pipeline.adapters.facts import promoted_record
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.promotions.sign_offs import SignOff, in_use, sign_offs_of
from sq_pipeline.pipeline.promotions.version_files import find_file, put_into_store
from sq_pipeline.pipeline.store import Record

LEFT_OUT, NEWEST = "none", "newest"
WORDS = (LEFT_OUT, PREVIOUS, NEWEST)  # in place of a version's digits


def find_version(context: Context, adapter: Adapter, said: str | None) -> Record | str:
    """The adapter as its line or a promotion has it; or why there is none.

    `said`: the first digits of a version, `previous` for the one in use before, `newest` for what its line made and the
    gate has judged; None for what is in use.
    """
    try:
        if said is None:
            return promoted_record(context, adapter) or f"{adapter.name} was never promoted"
        if said == NEWEST:
            return _newest(context, adapter) or f"nothing of {adapter.name} is verified as it would be made now"
        return _promoted(context, adapter, said)
    except SqPipelineError as error:
        return "; ".join(map(str, error.faults))


def known_versions(context: Context, adapter: Adapter) -> list[str]:
    """The first digits of those whose file is there, the latest first."""
    try:
        there = [one for one in reversed(sign_offs_of(context, adapter)) if find_file(context, adapter, one)]
    except SqPipelineError:
        return []
    newest = _newest(context, adapter)
    versions = [*([newest.data_version] if newest else []), *(one.adapter_version for one in there)]
    return list(dict.fromkeys(map(short, versions)))


def _newest(context: Context, adapter: Adapter) -> Record | None:
    """What the line has, once it is judged: what could not be applied whole is seen there, and not in pictures."""
    steps = adapter_steps_of(context, adapter)
    return steps["mflux_adapter"].record if steps["verification"].record is not None else None


def _promoted(context: Context, adapter: Adapter, said: str) -> Record | str:
    sign_offs, current, newest = sign_offs_of(context, adapter), in_use(context, adapter), _newest(context, adapter)
    if said == PREVIOUS:
        others = [one for one in sign_offs if current is None or one.adapter_version != current.adapter_version]
        if not others:
            return f"no other version of {adapter.name} was ever promoted"
        return _record_of(context, adapter, others[-1])
    known: dict[str, SignOff | Record] = {one.adapter_version: one for one in sign_offs}
    if newest is not None:
        known[newest.data_version] = newest
    found = [version for version in known if begins_with(version, said)]
    if len(found) != 1:
        if found:
            return f"{said!r} is the beginning of several versions of {adapter.name}"
        return f"{said!r} is no adapter of {adapter.genre}, and no version of {adapter.name} begins so"
    one = known[found[0]]
    return one if isinstance(one, Record) else _record_of(context, adapter, one)


def _record_of(context: Context, adapter: Adapter, sign_off: SignOff) -> Record | str:
    stored = put_into_store(context, adapter, sign_off)
    if stored is None:
        return f"the file of {sign_off.describe()} is gone"
    return Record(
        kind="promoted_adapter",
        fingerprint=fingerprint(sign_off.inputs),
        inputs=sign_off.inputs,
        data_version=sign_off.adapter_version,
        objects={"adapter": stored},
    )
