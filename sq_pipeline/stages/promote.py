"""Promotion: an adapter that passed verification becomes the one that pictures use, by somebody's name."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.core.content import Adapter
from sq_pipeline.core.errors import Fault, VerificationError
from sq_pipeline.core.verdicts import Verdict, has_passed
from sq_pipeline.storage.atomic import atomic_path
from sq_pipeline.storage.layout import DataDir
from sq_pipeline.storage.manifests import read_manifest, write_manifest

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
