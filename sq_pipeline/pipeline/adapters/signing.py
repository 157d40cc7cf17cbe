"""A yes to what an adapter's line has made: what it is for, whether it may be given. Not here: who gave one
(`promotions.sign_offs`).
"""

from typing import Any

from sq_pipeline.common.errors import Fault, VerificationError
from sq_pipeline.common.hints import command
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import PersonsWord, Steps, made
from sq_pipeline.pipeline.adapters.checkpoints.checkpoint_report import describe_choice
from sq_pipeline.pipeline.chain import follow, problems_of
from sq_pipeline.pipeline.promotions.sign_offs import Judged, SignOff, now_text
from sq_pipeline.pipeline.store import Record
from sq_pipeline.verification.verdicts import Verdict, failed_names


def judged_of(steps: Steps) -> Judged:
    """What the line has now, once it is verified."""
    verification = made(steps, "verification")
    return Judged(
        adapter_version=made(steps, "mflux_adapter").data_version,
        failed=failed_names([Verdict(**verdict) for verdict in verification.info["verdicts"]]),
        base_model=verification.inputs["base_model"],
        base_weights=verification.inputs["base_weights"],
    )


def failed_checks(steps: Steps) -> list[str]:
    """The checks that the line's adapter failed, a line each."""
    verdicts = made(steps, "verification").info["verdicts"]
    return [f"{verdict['check']}: {verdict['detail']}" for verdict in verdicts if verdict["outcome"] == "failed"]


def sign_off_for(adapter: Adapter, steps: Steps, by: str, at: str | None, because: str | None = None) -> SignOff:
    """A yes to what the line has now."""
    judged, verification = judged_of(steps), made(steps, "verification")
    return SignOff(
        file=adapter.file,
        adapter_version=judged.adapter_version,
        adapter_sha256=made(steps, "mflux_adapter").objects["adapter"].sha256,
        base_model=judged.base_model,
        base_weights=judged.base_weights,
        promoted_by=by,
        promoted_at=at,
        because=because,
        verified={v["check"]: f"{v['outcome']}: {v['detail']}" for v in verification.info["verdicts"]},
        made_from=_provenance(steps, verification),
    )


def sign_as(adapter: Adapter, steps: Steps, word: PersonsWord) -> SignOff:
    """A person's yes to what the line has now; raises VerificationError where it cannot be given."""
    faults: list[Fault] = []
    if not (word.by or "").strip():
        faults.append(Fault(adapter.key, "by", "nobody is named", "say who promotes it"))
    if word.because is not None and not word.because.strip():
        faults.append(Fault(adapter.key, "because", "is empty", "say why, or leave it out"))
    step, verification = steps["promoted_adapter"], steps["verification"]
    if verification.record is None:
        behind = follow([verification], step.asset, step.kind)
        way = f"bring it up to date with {command('run')}" if behind.status == "pending" else ""
        faults.append(Fault(step.asset, "", "; ".join(problems_of(behind)), way))
    elif not verification.record.info["has_passed"]:
        faults += _refusals(adapter, step.asset, steps, word.because)
    if faults:
        raise VerificationError(faults)
    because = word.because.strip() if word.because else None
    return sign_off_for(adapter, steps, (word.by or "").strip(), now_text(), because)


def _refusals(adapter: Adapter, asset: str, steps: Steps, because: str | None) -> list[Fault]:
    """Why one that failed may not be promoted: nobody says why, or no picture would ever be made with it."""
    told = "; ".join(("did not pass verification", *failed_checks(steps)))
    if problem := _why_of_no_use(made(steps, "verification")):
        return [
            Fault(asset, "", f"{told}; {problem}, so nobody can overrule it", "an adapter that failed is never used")
        ]
    if because is None:
        way = command("adapter promote", adapter.name, "--by", "WHO", "--because", "WHY")
        return [Fault(asset, "", told, f"look at its report; {way} overrules it")]
    return []


def _why_of_no_use(verification: Record) -> str | None:
    """Why an adapter can make no picture, whatever a person says; None where it can."""
    fidelity: dict[str, Any] | None = verification.info.get("fidelity")
    if fidelity is None:
        return "what is applied of it could not be measured"
    outcomes = {verdict["check"]: verdict["outcome"] for verdict in verification.info["verdicts"]}
    is_partly_read = fidelity["unmatched_keys"] or fidelity["problems"]
    if is_partly_read or any(o == "failed" for check, o in outcomes.items() if check == "keys matched"):
        return "mflux does not load all of it, and no picture is made with a part of an adapter"
    return None


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
