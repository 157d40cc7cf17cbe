"""The asset `promoted_adapter`: an adapter that passed its verification, put where worlds find it, in somebody's name.

Here: whether it may be, putting it there, and the genre's manifest. Not here: a person's yes (`promote`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.archive import archive_version
from sq_pipeline.common.atomic import atomic_path, copy_bytes
from sq_pipeline.common.errors import AdapterError, Fault, VerificationError
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, Making, Steps, made
from sq_pipeline.pipeline.adapters.checkpoint_report import describe_choice
from sq_pipeline.pipeline.adapters.facts import asset_name
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import Inputs, promotion_inputs
from sq_pipeline.pipeline.manifests import read_manifest, write_manifest
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.theirs import why_not_ours
from sq_pipeline.verification.verdicts import Verdict, has_passed

AUTOMATIC = "automatic (sq.yaml says `promotion: automatic`)"


@dataclass(frozen=True)
class Promotion:
    """What the manifest says of one promoted adapter. Versions are `sha256:…`."""

    adapter: Adapter
    adapter_version: str
    verdicts: tuple[Verdict, ...]
    promoted_by: str
    provenance: dict[str, Any]


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
    VerificationError when a verdict failed or none was made, or nobody is named; ContentError for a broken manifest.
    `say` hears of a manifest that was kept in the archive. With `sha256` nothing is promoted but bytes of that hash.
    """
    adapter = promotion.adapter
    if not has_passed(promotion.verdicts):
        failed = [f"{v.check}: {v.detail}" for v in promotion.verdicts if v.outcome == "failed"]
        problem = f"did not pass verification ({'; '.join(failed) or 'none was made'})"
        raise VerificationError(Fault(adapter.key, "", problem, "look at its report; train it again"))
    if not promotion.promoted_by.strip():
        raise VerificationError(Fault(adapter.key, "by", "nobody is named", "say who promotes it"))
    manifest = read_manifest(data, adapter.genre)
    manifest[adapter.name] = {
        "file": adapter.file,
        "adapter_version": promotion.adapter_version,
        "promoted_by": promotion.promoted_by,
        "verified": {verdict.check: f"{verdict.outcome}: {verdict.detail}" for verdict in promotion.verdicts},
        "made_from": promotion.provenance,
    }
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


def _inputs(_context: Context, _adapter: Adapter, steps: Steps) -> Inputs:
    return promotion_inputs(made(steps, "mflux_adapter").data_version, made(steps, "verification").data_version)


def _refine(context: Context, adapter: Adapter, step: Step, steps: Steps) -> Step:
    """Only what passed is promoted, by a person where `sq.yaml` says so, and stays where it was put."""
    is_manual = context.settings.promotion == "manual"
    if step.because is not None:
        waits = step.status == "pending" and is_manual
        return replace(step, status="waiting", reasons=("then it waits for a person",)) if waits else step
    verification = made(steps, "verification")
    if not verification.info["has_passed"]:
        failed = [f"{v['check']}: {v['detail']}" for v in verification.info["verdicts"] if v["outcome"] == "failed"]
        return replace(step, status="blocked", record=None, reasons=("did not pass verification", *failed))
    path, file = context.data.root / adapter.place, adapter.place
    if theirs := _why_theirs(context, adapter, step):
        way = f"Move it away, or put the promoted one there: {_way(adapter)}"
        return replace(step, status="waiting", reasons=(f"{file} {theirs}; it stays. {way}", *step.reasons))
    if step.status == "fresh" and not path.is_file():
        return replace(step, status="stale", reasons=(f"{file} is gone",))
    if step.status == "fresh" and step.record is not None and not _holds(context, adapter, step.record):
        return replace(step, status="stale", reasons=(f"{file} is another adapter",))
    # with a record it was promoted before, just as it is, and nobody has to say yes again; but to another file
    if step.record is not None and step.record.info.get("file") != adapter.file:
        reason = f"it was promoted as content/lora/{step.record.info.get('file')}"
        step = replace(step, status="stale", record=None, reasons=(reason,))
    if step.status == "stale" and step.record is None and is_manual:
        reason = f"waits for a person: {_way(adapter)}"
        return replace(step, status="waiting", reasons=(reason, *step.reasons))
    return step


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
    entry = read_manifest(context.data, adapter.genre).get(adapter.name, {})
    return None if version == entry.get("adapter_version") else "is no adapter of ours"


def _make(making: Making) -> Record:
    """Promote the adapter in somebody's name; without one only where `sq.yaml` says `promotion: automatic`.

    One that was promoted before needs nobody: it is put back. What a person put in its place goes only when one says
    so, and into the archive first. Raises VerificationError.
    """
    context, adapter, step = making.context, making.adapter, making.step
    theirs = _why_theirs(context, adapter, step)
    before = step.record.info["promoted_by"] if step.record is not None and not theirs else None
    by = making.by or before
    if by is None and (theirs or context.settings.promotion != "automatic"):
        raise VerificationError(Fault(step.asset, "", "; ".join(step.reasons), ""))
    remapped, verification = making.upstream("mflux_adapter"), making.upstream("verification")
    stored = remapped.objects["adapter"]
    promotion = Promotion(
        adapter=adapter,
        adapter_version=remapped.data_version,
        verdicts=tuple(Verdict(**verdict) for verdict in verification.info["verdicts"]),
        promoted_by=by or AUTOMATIC,
        provenance=_provenance(making.steps, verification),
    )
    path = context.data.lora_root / adapter.file
    if theirs and (path.is_symlink() or not path.is_file()):
        raise VerificationError(Fault(context.data.relative(path), "", theirs, "move it away"))
    if theirs:
        context.tell(f"{context.data.relative(path)}: kept as {context.data.relative(archive_version(path))}")
    promote_adapter(context.data, context.adapter_file(stored), promotion, context.tell, sha256=stored.sha256)
    info = {"promoted_by": promotion.promoted_by, "file": adapter.file}
    return step.as_record(remapped.data_version, {"adapter": stored}, info)


def _provenance(steps: Steps, verification: Record) -> dict[str, Any]:
    made_from: dict[str, Any] = {"verification_report": verification.objects["report"].sha256}
    for name in ("training_dataset", "mlx_adapter", "mflux_adapter"):
        step = steps.get(name)
        if step is not None and step.record is not None:
            made_from[name] = step.record.data_version
    chosen = steps.get("chosen_checkpoint")
    if chosen is not None and chosen.record is not None:
        made_from["checkpoint"] = describe_choice(chosen.record.info)
    mflux = steps["mflux_adapter"].record
    if mflux is not None and "keymap" in mflux.info:
        made_from["keymap"] = f"{mflux.info['keymap']} {mflux.info['keymap_version']} {mflux.info['rules_hash']}"
    return made_from


ASSET = AdapterAsset(
    name="promoted_adapter",
    upstream=("verification",),
    sources=("sq_yaml",),
    inputs=_inputs,
    make=_make,
    description=lambda adapter: f"{adapter.name} as pictures use it: {adapter.place}.",
    refine=_refine,
    hears=("by",),
    is_placed=True,
)
