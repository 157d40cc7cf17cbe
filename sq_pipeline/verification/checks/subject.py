"""Check *subject*: does each picture keep its own prompt's composition, rather than any prompt's or none?"""

from sq_pipeline.verification.look import Look, skipped
from sq_pipeline.verification.measures.subject import subject_kept
from sq_pipeline.verification.verdicts import Verdict, percent

NAME = "subject kept"


def judge(look: Look) -> Verdict:
    """1 for the base model itself, about 0 where one scene swallows every prompt, or pictures fall apart."""
    if len(look.prompts.prompts) < 2:
        return skipped(NAME, "one prompt cannot be told from another; write a second one")
    kept = subject_kept(look.styled, look.base)
    return look.verdict(
        NAME, "subject_kept", kept, f"each picture keeps {percent(kept)} of its own prompt's composition"
    )
