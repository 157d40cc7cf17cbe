"""The asset `promoted_adapter`: an adapter that passed its verification, put where worlds find it, in somebody's name.

Here: whether it may be, putting it there, and the genre's manifest. Not here: who said yes to what
(`promotions.sign_offs`), and a person's commands (`promote`, `roll_back`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.archive import archive_version
from sq_pipeline.common.atomic import atomic_path, copy_bytes
from sq_pipeline.common.errors import AdapterError, Fault, VerificationError
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, Making, PersonsWord, Steps, made
from sq_pipeline.pipeline.adapters.enter_rollback import PREVIOUS, enter_rollback
from sq_pipeline.pipeline.adapters.facts import asset_name
from sq_pipeline.pipeline.adapters.signing import failed_checks, judged_of, sign_as, sign_off_for
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import Inputs, promotion_inputs
from sq_pipeline.pipeline.manifests import read_manifest, write_manifest
from sq_pipeline.pipeline.promotions.sign_offs import (
    AUTOMATIC,
    SignOff,
    add_sign_off,
    forget,
    held_sign_off,
    in_use,
    now_text,
    read_sign_offs,
    sign_offs_of,
    yes_for,
)
from sq_pipeline.pipeline.promotions.version_files import keep_replaced, put_into_store
from sq_pipeline.pipeline.store import Record, StoredObject
from sq_pipeline.pipeline.theirs import why_not_ours


@dataclass(frozen=True)
class Promotion:
    """An adapter, and who put which version of it into use."""

    adapter: Adapter
    sign_off: SignOff


def promote_adapter(
    data: DataDir,
    source: Path,
    promotion: Promotion,
    say: Callable[[str], None] = lambda _: None,
    *,
    sha256: str | None = None,
) -> Path:
    """Copy the adapter to `content/lora/…` and enter it in the genre's manifest; both whole or not at all.

    An external adapter's file is the person's own and is left as it is; only the manifest names it. Raises
    VerificationError when a verdict failed or none was made, and nobody said why it is used all the same; ContentError
    for a broken manifest. `say` hears of a manifest that was kept in the archive. With `sha256` nothing is promoted but
    bytes of that hash.
    """
    adapter, sign_off = promotion.adapter, promotion.sign_off
    if not sign_off.may_be_used:
        problem = f"did not pass verification ({'; '.join(sign_off.failed) or 'none was made'})"
        raise VerificationError(Fault(adapter.key, "", problem, "look at its report; train it again"))
    manifest = read_manifest(data, adapter.genre)
    manifest[adapter.name] = sign_off.as_entry()
    target = data.lora_root / adapter.file
    if adapter.dataset is None:
        kept = write_manifest(data, adapter.genre, manifest)
    else:
        with atomic_path(target) as part:
            # the adapter's bytes are on the disk before the manifest names them; only a rename is left to do
            copy_bytes(source, part, sha256)
            kept = write_manifest(data, adapter.genre, manifest)
    if kept is not None:
        say(f"{data.relative(data.manifest(adapter.genre))}: what was written into it is kept as {data.relative(kept)}")
    return target


def _inputs(context: Context, adapter: Adapter, steps: Steps) -> Inputs:
    """What is promoted now; a version that a person put back in use, where one is, is an input like any other."""
    held = held_sign_off(context, adapter)
    if held is not None:
        return held.inputs
    return promotion_inputs(made(steps, "mflux_adapter").data_version, made(steps, "verification").data_version)


def _refine(context: Context, adapter: Adapter, step: Step, steps: Steps) -> Step:
    """Only what passed is promoted, or what a person overruled; by a person where `sq.yaml` says so; and it stays where
    it was put. What a person put back in use stays, whatever comes of the line.
    """
    held = held_sign_off(context, adapter)
    if held is not None:
        return _held(context, adapter, context.step(step.asset, step.kind, held.inputs), steps, held)
    is_manual = context.settings.promotion == "manual"
    if step.because is not None:
        waits = step.status == "pending" and is_manual
        return replace(step, status="waiting", reasons=("then it waits for a person",)) if waits else step
    yes = yes_for(context, adapter, judged_of(steps))
    if yes is None and not made(steps, "verification").info["has_passed"]:
        reasons = ("did not pass verification", *failed_checks(steps), *_stays(context, adapter, steps))
        return replace(step, status="blocked", record=None, reasons=reasons)
    if step.record is not None and (problem := _why_no_yes(adapter, step.record, steps)):
        # with a yes of another time it needs nobody, and is put back
        was, reason = (None, problem) if yes is None else (step.record, yes.describe())
        step = replace(step, status="stale", record=was, reasons=(reason,))
    if out_of_place := _out_of_place(context, adapter, step):
        return out_of_place
    current = in_use(context, adapter)
    if (
        step.status == "fresh"
        and yes is not None
        and current != yes
        and current is not None
        and current.act == "rollback"
    ):
        return replace(step, status="stale", reasons=(yes.describe(),))  # promoted by now, and not only put back
    if step.status == "stale" and step.record is None and yes is not None:
        return replace(step, reasons=(yes.describe(), *step.reasons))
    if step.status == "stale" and step.record is None and is_manual:
        reasons = (f"waits for a person: {_way(adapter)}", *step.reasons, *_stays(context, adapter, steps))
        return replace(step, status="waiting", reasons=reasons)
    return step


def _held(context: Context, adapter: Adapter, step: Step, steps: Steps, held: SignOff) -> Step:
    """A version that a person put back in use: first it has to be where it belongs, then what is newer may wait."""
    if out_of_place := _out_of_place(context, adapter, step):
        return out_of_place
    if step.status != "fresh" or step.record is None or step.record.info.get("file") != adapter.file:
        return replace(step, status="stale", reasons=(held.describe(), *step.reasons))
    if steps["verification"].record is None:
        return step  # it is judged when it is there
    judged = judged_of(steps)
    if any(sign_off.is_for(judged) for sign_off in sign_offs_of(context, adapter)):
        return step  # a person knew of it, and put another one back
    stays = f"in use stays {held.describe()}"
    if failed := failed_checks(steps):
        return replace(step, status="blocked", reasons=("did not pass verification", *failed, stays))
    return replace(step, status="waiting", reasons=(f"a newer one waits for a person: {_way(adapter)}", stays))


def _out_of_place(context: Context, adapter: Adapter, step: Step) -> Step | None:
    """The step where something else lies in the adapter's place, or nothing; None where all is well."""
    path, file = context.data.root / adapter.place, adapter.place
    if theirs := _why_theirs(context, adapter, step):
        way = f"Move it away, or put the promoted one there: {_way(adapter)}"
        return replace(step, status="waiting", reasons=(f"{file} {theirs}; it stays. {way}", *step.reasons))
    if step.status == "fresh" and adapter.dataset is not None and not path.is_file():
        return replace(step, status="stale", reasons=(f"{file} is gone",))
    if step.status == "fresh" and step.record is not None and not _holds(context, adapter, step.record):
        return replace(step, status="stale", reasons=(f"{file} is another adapter",))
    return None


def _why_no_yes(adapter: Adapter, record: Record, steps: Steps) -> str | None:
    """Why a record is no yes to what there is now: to another file, or over another base model. None where it is one.

    With a record it was promoted before, just as it is, and nobody has to say yes again.
    """
    if record.info.get("file") != adapter.file:
        return f"it was promoted as content/lora/{record.info.get('file')}"
    judged = judged_of(steps)
    base, now = (
        (record.info.get("base_model"), record.info.get("base_weights")),
        (judged.base_model, judged.base_weights),
    )
    if base in ((None, None), now):
        return None
    return f"it was promoted over {base[0]}" + (" with other weights" if base[0] == now[0] else f", not {now[0]}")


def _stays(context: Context, adapter: Adapter, steps: Steps) -> tuple[str, ...]:
    """What is in use meanwhile, where that is another version."""
    current = in_use(context, adapter)
    if current is None or current.adapter_version == made(steps, "mflux_adapter").data_version:
        return ()
    return (f"in use stays {current.describe()}",)


def _way(adapter: Adapter) -> str:
    """How a person says yes."""
    said = command("adapter promote", adapter.name, "--by", "WHO")
    return f"{said}, or launch `promoted_adapter` with `by` in its config"


def _holds(context: Context, adapter: Adapter, promoted: Record) -> bool:
    """True where what was promoted is where it was put. An adapter from elsewhere is never put anywhere."""
    if adapter.dataset is None:
        return True
    try:
        return context.files.hash_of(context.data.lora_root / adapter.file) == promoted.objects["adapter"].sha256
    except OSError:
        return False


def _why_theirs(context: Context, adapter: Adapter, step: Step) -> str | None:
    """Why the file in an adapter's place may not be replaced: it is none that we put there. None where it may."""
    path = context.data.lora_root / adapter.file
    if adapter.dataset is None or (step.record is not None and _holds(context, adapter, step.record)):
        return None
    return why_not_ours(path, lambda file: _why_no_adapter_of_ours(context, adapter, file))


def _why_no_adapter_of_ours(context: Context, adapter: Adapter, path: Path) -> str | None:
    """None for what the store has, and for what the manifest names."""
    try:
        if context.store.find(context.files.hash_of(path), path.suffix) is not None:
            return None
        version = context.files.remember(path, "tensors", lambda: tensors_data_version(path))
    except AdapterError:
        version = ""
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    current = context.store.read_current_fingerprint(asset_name(adapter, "promoted_adapter"))
    last = context.store.read_known("promoted_adapter", current) if current else None
    if last is not None and context.store.is_same_damage(last.objects["adapter"], path):
        return None  # put there from the store before anybody noticed
    ours = {sign_off.adapter_version for sign_off in sign_offs_of(context, adapter)}
    return None if version in ours else "is no adapter of ours"


def _enter(context: Context, adapter: Adapter, steps: Steps, word: PersonsWord) -> None:
    """Write down a person's yes, unless it is there and in use already, or that they put an earlier version back.

    Raises VerificationError, SelectionError.
    """
    if word.roll_back_to is not None:
        to = word.roll_back_to.strip()
        enter_rollback(context, adapter, None if to == PREVIOUS else to, word.by or "", word.because)
        return
    sign_off = sign_as(adapter, steps, word)
    is_in_use = steps["promoted_adapter"].status == "fresh" and held_sign_off(context, adapter) is None
    if not is_in_use:
        add_sign_off(context, adapter, sign_off)


def _make(making: Making) -> Record:
    """Put into use what a person said yes to; without one only where `sq.yaml` says `promotion: automatic`.

    One that was promoted before needs nobody: it is put back. What a person put in its place goes only when one says
    so, and into the archive first. Raises VerificationError.
    """
    context, adapter, step = making.context, making.adapter, making.step
    if read_sign_offs(context.data, adapter) != sign_offs_of(context, adapter):
        problem = "somebody said meanwhile which version is to be used"
        raise VerificationError(Fault(step.asset, "", problem, "run again; nothing was kept"))
    theirs = _why_theirs(context, adapter, step)
    sign_off = None if step.status in ("waiting", "blocked") and making.by is None else _to_put(making)
    stored = None if sign_off is None else _stored(making, sign_off)
    if sign_off is None or stored is None:
        lost = () if sign_off is None else (f"the file of {sign_off.describe()} is gone",)
        raise VerificationError(Fault(step.asset, "", "; ".join((*lost, *step.reasons)), ""))
    path = context.data.lora_root / adapter.file
    if theirs and (path.is_symlink() or not path.is_file()):
        raise VerificationError(Fault(context.data.relative(path), "", theirs, "move it away"))
    if theirs:
        context.tell(f"{context.data.relative(path)}: kept as {context.data.relative(archive_version(path))}")
    sign_off = sign_off.model_copy(update={"file": adapter.file})
    if sign_off not in sign_offs_of(context, adapter):
        add_sign_off(context, adapter, sign_off)
    keep_replaced(context, adapter, sign_off)
    promotion = Promotion(adapter, sign_off)
    promote_adapter(context.data, context.adapter_file(stored), promotion, context.tell, sha256=stored.sha256)
    forget(context, adapter)
    told = ("promoted_by", "file", "act", "promoted_at", "because", "base_model", "base_weights")
    info = {name: value for name, value in sign_off.as_entry().items() if name in told}
    if sign_off.because is not None:
        info["failed"] = sign_off.failed
    return step.as_record(sign_off.adapter_version, {"adapter": stored}, info)


def _to_put(making: Making) -> SignOff | None:
    """What goes into use: what a person put back, what got a yes, or what needs none; None where a yes is missing."""
    context, adapter, record = making.context, making.adapter, making.step.record
    held = held_sign_off(context, adapter)
    if held is not None:
        return held
    if yes := yes_for(context, adapter, judged_of(making.steps)):
        return yes
    new = sign_off_for(adapter, making.steps, AUTOMATIC, now_text())
    if record is not None and _why_no_yes(adapter, record, making.steps) is None:  # of before there was a history
        return new.model_copy(
            update={name: record.info.get(name) for name in ("promoted_by", "promoted_at", "because")}
        )
    return new if context.settings.promotion == "automatic" and new.may_be_used else None


def _stored(making: Making, sign_off: SignOff) -> StoredObject | None:
    """Its file in the store; from a copy, or as the line has made it again, where the store has lost it."""
    remapped = making.steps["mflux_adapter"].record
    is_same = remapped is not None and remapped.data_version == sign_off.adapter_version
    again = remapped.objects["adapter"] if remapped is not None and is_same else None
    return put_into_store(making.context, making.adapter, sign_off) or again


ASSET = AdapterAsset(
    name="promoted_adapter",
    upstream=("verification",),
    sources=("sq_yaml",),
    inputs=_inputs,
    make=_make,
    description=lambda adapter: (
        f"{adapter.name} as pictures use it: {adapter.place}. With `promotion: manual` it waits for your yes: the job "
        "*promote_an_adapter*, which also puts an earlier version back."
    ),
    tags=("choice", "safetensors"),
    refine=_refine,
    hears=("by", "because", "roll_back_to"),
    enter=_enter,
    is_placed=True,
)
