"""Check *update size*: how large is what it adds, beside the base model's own weights?"""

from sq_pipeline.verification.look import Look, skipped
from sq_pipeline.verification.verdicts import Verdict, percent

NAME = "update size"
# Good adapters over tiny-flux add 0.20 to 0.46, the same at four times their strength 0.79 and more; over FLUX.1 people
# publish far less.
MOST = 0.7
_GOOD = 0.25


def judge(look: Look) -> Verdict:
    """The norm of the update over that of the weights it is added to. Advice: what it does, pictures say.

    Where the base model's weights were not read, they are taken as wide as those of a trained transformer usually are.
    """
    report = look.fidelity
    share = report.update_share
    if share is None:
        return skipped(NAME, "nothing is known of the base model's weights")
    usual = " as they usually are" if report.weights_are_estimated else ""
    detail = f"what it adds is {percent(share)} as large as the weights that it is added to{usual}"
    is_usual = share <= MOST  # NaN is not
    wanted = f"≤ {MOST:g} (advice)"
    return Verdict(NAME, "passed" if is_usual else "warned", share, wanted, detail, MOST, 0.0, _GOOD)
