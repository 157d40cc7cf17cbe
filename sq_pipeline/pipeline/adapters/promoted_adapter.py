"""The asset `promoted_adapter`: an adapter that passed its verification, put where worlds find it, in somebody's name.

Here: putting it there, and the genre's manifest. Not here: whether it may be (`adapter_status`).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.common.atomic import atomic_path
from sq_pipeline.common.errors import Fault, VerificationError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.checkpoint_report import describe_choice
from sq_pipeline.pipeline.chain import problems_of
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.manifests import read_manifest, write_manifest
from sq_pipeline.pipeline.store import Record
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


def promote_adapter(data: DataDir, source: Path, promotion: Promotion) -> Path:
    """Copy the adapter to `content/lora/…` and enter it in the genre's manifest; both whole or not at all.

    An external adapter's file is the person's own and is left as it is; only the manifest names it. Raises
    VerificationError when a verdict failed or none was made, or nobody is named; ContentError for a broken manifest.
    """
    adapter = promotion.adapter
    if not has_passed(promotion.verdicts):
        failed = [f"{v.check}: {v.detail}" for v in promotion.verdicts if v.outcome == "failed"]
        problem = f"did not pass verification ({'; '.join(failed) or 'none was made'})"
        raise VerificationError(Fault(adapter.key, "", problem, "look at its report; train it again"))
    if not promotion.promoted_by.strip():
        raise VerificationError(Fault(adapter.key, "--by", "nobody is named", "say who promotes it"))
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
        write_manifest(data, adapter.genre, manifest)
        return target
    with atomic_path(target) as part:
        # the adapter's bytes are on the disk before the manifest names them; only a rename is left to do
        shutil.copyfile(source, part)
        write_manifest(data, adapter.genre, manifest)
    return target


def promote(context: Context, adapter: Adapter, by: str | None = None) -> tuple[Record, bool]:
    """Promote the adapter in somebody's name; without one only where `sq.yaml` says `promotion: automatic`.

    One that was promoted before, and replaced since, needs nobody: it is put back, and returned with False.
    Raises VerificationError when it did not pass, or nobody is named.
    """
    step, states = _ready_to_promote(context, adapter)
    if step.record is not None:
        if step.status == "fresh":
            return step.record, False
        by = by or step.record.info["promoted_by"]
    if by is None and context.settings.promotion != "automatic":
        raise VerificationError([Fault(step.asset, "", reason, "") for reason in step.reasons])
    adapter_record, verification = states["mflux_adapter"].record, states["verification"].record
    assert adapter_record is not None
    assert verification is not None
    stored = adapter_record.objects["adapter"]
    promotion = Promotion(
        adapter=adapter,
        adapter_version=adapter_record.data_version,
        verdicts=tuple(Verdict(**verdict) for verdict in verification.info["verdicts"]),
        promoted_by=by or AUTOMATIC,
        provenance=_provenance(states, verification),
    )
    promote_adapter(context.data, context.store.path_of(stored), promotion)
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=adapter_record.data_version,
        objects={"adapter": stored},
        info={"promoted_by": promotion.promoted_by, "file": adapter.file},
    )
    return context.keep(step, record), step.record is None


def _ready_to_promote(context: Context, adapter: Adapter) -> tuple[Step, dict[str, Step]]:
    states = adapter_steps_of(context, adapter)
    step = states["promoted_adapter"]
    if step.status == "pending":
        fault = Fault(step.asset, "", "; ".join(problems_of(step)), "bring it up to date with `sq-pipeline run`")
        raise VerificationError(fault)
    if step.status == "blocked":
        raise VerificationError(Fault(step.asset, "", "; ".join(step.reasons), "an adapter that failed is never used"))
    return step, states


def _provenance(states: dict[str, Step], verification: Record) -> dict[str, Any]:
    made_from: dict[str, Any] = {"verification_report": verification.objects["report"].sha256}
    for name in ("training_dataset", "mlx_adapter", "mflux_adapter"):
        state = states.get(name)
        if state is not None and state.record is not None:
            made_from[name] = state.record.data_version
    chosen = states.get("chosen_checkpoint")
    if chosen is not None and chosen.record is not None:
        made_from["checkpoint"] = describe_choice(chosen.record.info)
    mflux = states["mflux_adapter"].record
    if mflux is not None and "keymap" in mflux.info:
        made_from["keymap"] = f"{mflux.info['keymap']} {mflux.info['keymap_version']} {mflux.info['rules_hash']}"
    return made_from
