"""Every version of an adapter that was put into use, for people. Not here: what is written down (`sign_offs`)."""

from typing import Any

from sq_pipeline.common.fingerprints import short
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.promotions.sign_offs import SignOff, read_sign_offs, sign_off_in_use
from sq_pipeline.pipeline.promotions.version_files import find_file


def promotion_history(context: Context, adapter: Adapter) -> list[dict[str, Any]]:
    """An entry for each time that a version was put into use, the latest first.

    `version` is short, `verdict` a line, `path` where its file is now, None where it is gone. Raises ContentError.
    """
    current = sign_off_in_use(context.data, adapter)
    rows: list[dict[str, Any]] = []
    for sign_off in reversed(read_sign_offs(context.data, adapter)):
        path = find_file(context, adapter, sign_off)
        is_in_use = sign_off == current and not any(row["is_in_use"] for row in rows)
        rows.append(
            {
                "version": short(sign_off.adapter_version),
                "act": sign_off.act,
                "at": sign_off.promoted_at,
                "by": sign_off.promoted_by,
                "because": sign_off.because,
                "verdict": verdict_line(sign_off),
                "is_in_use": is_in_use,
                "path": None if path is None else context.data.relative(path),
                "adapter_version": sign_off.adapter_version,
                "adapter_sha256": sign_off.adapter_sha256,
                "base_model": sign_off.base_model,
                "base_weights": sign_off.base_weights,
                "verified": dict(sign_off.verified),
                "made_from": dict(sign_off.made_from),
            }
        )
    context.files.save()
    return rows


def verdict_line(sign_off: SignOff) -> str:
    """`passed 4 checks`, or the first check that failed."""
    if failed := sign_off.failed:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return f"failed {failed[0]}{more}"
    passed = sum(verdict.outcome == "passed" for verdict in sign_off.verdicts)
    return f"passed {passed} checks" if sign_off.verdicts else "not known"
