"""`verify_prompts/<tier>.yaml`: the prompts that an adapter is verified with. Strict and versioned."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.base_models.ports import TokenCounter
from sq_pipeline.common.errors import ContentError, Fault
from sq_pipeline.common.fingerprints import counted_fields
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import load_mapping, validate


class VerifyPrompt(BaseModel):
    """One prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(min_length=1)
    """The prompt, without a trigger."""
    seed: int = Field(ge=0, lt=2**32)
    """The seed that it is rendered with."""


class VerifyPrompts(BaseModel):
    """The prompts of one tier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=1)
    """A number that you raise with every change."""
    control_word: str = Field(min_length=1)
    """A word that means nothing. It stands where the trigger would."""
    prompts: tuple[VerifyPrompt, ...] = Field(min_length=1, max_length=64)
    """The prompts, each rendered without the adapter, with it and its trigger, and with it and the control word."""


# The fields of version 0.1.0, which every fingerprint holds. A later one is not to be added: see `counted_fields`.
_FIRST_FIELDS = frozenset({"version", "control_word", "prompts", "prompts.prompt", "prompts.seed"})


def verify_prompt_values(prompts: VerifyPrompts) -> dict[str, Any]:
    """What of the prompts a verification's fingerprint holds, by name."""
    return counted_fields(prompts, _FIRST_FIELDS)


def load_verify_prompts(data: DataDir, tier: str) -> VerifyPrompts:
    """The prompts of a tier; raises ContentError when there are none, or they cannot be used."""
    path = data.verify_prompts_root / f"{tier}.yaml"
    file = data.relative(path)
    return validate(VerifyPrompts, load_mapping(path, file), file)


def insist_trigger_is_read(trigger: str | None, where: str, open_counter: Callable[[], TokenCounter]) -> None:
    """Raises ContentError where the text encoder reads nothing of the trigger. `where`: the file that names it.

    The tokenizer is opened for words that are not in plain Latin letters only: every vocabulary has those.
    """
    if trigger is None or trigger.isascii():
        return
    if problem := open_counter().count_tokens(trigger).nothing_known_of(trigger):
        raise ContentError(Fault(where, "trigger", problem, "choose a word in plain Latin letters"))


def insist_control_word(prompts: VerifyPrompts, tier: str, trigger: str | None) -> None:
    """Raises ContentError where the word that should mean nothing is the trigger: nothing would tell the two apart."""
    if trigger is not None and trigger.strip().lower() == prompts.control_word.strip().lower():
        problem = f"{prompts.control_word!r} is the trigger of this adapter"
        hint = "write another word, one that means nothing"
        raise ContentError(Fault(f"verify_prompts/{tier}.yaml", "control_word", problem, hint))
