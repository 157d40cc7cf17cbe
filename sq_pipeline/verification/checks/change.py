"""Check *change*: is any picture other than the base model's? Whatever the change means, see the other checks."""

from sq_pipeline.verification.look import Look
from sq_pipeline.verification.ssim import ssim
from sq_pipeline.verification.verdicts import Verdict, judge_change

NAME = "picture changed"


def judge(look: Look) -> Verdict:
    """Every picture must change; equal ones have an SSIM of 1."""
    pairs = zip(look.base, look.styled, strict=True)
    return judge_change([ssim(without, styled) for without, styled in pairs], look.request.thresholds)
