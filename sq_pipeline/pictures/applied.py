"""What provenance says of tokens and of applied adapters, counted the same way for every kind of picture."""

from pathlib import Path

from sq_pipeline.adapters.inspect.inspect import report_adapter
from sq_pipeline.base_models.ports import TokenCounts
from sq_pipeline.common.errors import AdapterError
from sq_pipeline.pictures.ports import AppliedAdapter
from sq_pipeline.pictures.provenance import AdapterProvenance, TokenCount

SAMPLER = "euler"  # what all of mflux's schedulers for these models step by


def token_counts(counts: TokenCounts) -> tuple[TokenCount, ...]:
    """The counts, an entry an encoder."""
    found = [TokenCount(encoder=counts.encoder, tokens=counts.tokens, budget=counts.budget)]
    if counts.clip is not None and counts.clip_budget is not None:
        found.append(TokenCount(encoder="CLIP", tokens=counts.clip, budget=counts.clip_budget))
    return tuple(found)


def update_norm(path: Path) -> float | None:
    """Norm of all updates of a file, at its own scale; None where the norm of a module cannot be told."""
    try:
        report = report_adapter(path)
    except AdapterError:
        return None  # of a kind that mflux loads and nobody here can measure
    rows = report.rows
    is_known = bool(rows) and len(rows) == report.modules and all(row.update_norm is not None for row in rows)
    return report.update_norm if is_known else None


def scaled_norm(norm: float | None, lora_scale: float) -> float | None:
    """The norm as it was applied. Six digits: the last ones of a sum depend on how many threads took part in it."""
    return None if norm is None else float(f"{abs(lora_scale) * norm:.6g}")


def is_same_norm(first: float | None, second: float | None) -> bool:
    """Equal but for the last of six digits, which may turn with the number of threads."""
    if first is None or second is None:
        return first is second
    return abs(first - second) <= 2e-6 * max(first, second)


def adapter_provenance(
    applied: AppliedAdapter, name: str, file: str, data_version: str, file_sha256: str, norm: float | None
) -> AdapterProvenance:
    """What was applied of an adapter, and of which file; `norm` is that of its update at the file's own scale."""
    return AdapterProvenance(
        name=name,
        file=file,
        lora_scale=applied.lora_scale,
        data_version=data_version,
        file_sha256=file_sha256,
        keys_matched=applied.keys_matched,
        keys_total=applied.keys_total,
        layers_patched=applied.layers_patched,
        layers_expected=applied.layers_expected,
        update_norm=scaled_norm(norm, applied.lora_scale),
    )
