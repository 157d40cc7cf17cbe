"""Counting tokens with a base model's own tokenizer files. Loads no weights."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict

from tokenizers import Tokenizer

from sq_pipeline.base_models.base_models import BaseModel, Flux1Model, QwenModel
from sq_pipeline.base_models.ports import TokenCounter, TokenCounts
from sq_pipeline.common.errors import BaseModelError, Fault


class TokenizerPair:
    """A T5 and a CLIP tokenizer with the budgets of their base model."""

    def __init__(self, t5: Tokenizer, clip: Tokenizer, base_model: Flux1Model) -> None:
        self._t5, self._clip, self._base_model = t5, clip, base_model

    def count_tokens(self, text: str) -> TokenCounts:
        """Tokens of `text` with the marks that each tokenizer adds, untruncated."""
        return TokenCounts(
            encoder="T5",
            tokens=len(self._t5.encode(text).ids),
            budget=self._base_model.t5_token_budget,
            clip=len(self._clip.encode(text).ids),
            clip_budget=self._base_model.clip_token_budget,
            **_looked_at(self._t5, text),
        )


class ChatTokenizer:
    """A Qwen3 tokenizer, which reads a prompt as a person's words in a chat: the template counts too."""

    def __init__(self, tokenizer: Any, template_values: dict[str, Any], budget: int) -> None:
        self._tokenizer, self._template_values, self._budget = tokenizer, template_values, budget

    def count_tokens(self, text: str) -> TokenCounts:
        """Tokens of `text` in the template that mflux puts around it, untruncated."""
        said = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, **self._template_values
        )
        tokens = len(self._tokenizer(said)["input_ids"])
        return TokenCounts("Qwen3", tokens, self._budget, **_looked_at(self._tokenizer.backend_tokenizer, text))


class _LookedAt(TypedDict):
    known: int
    broken: tuple[str, ...]


def _looked_at(tokenizer: Tokenizer, text: str) -> _LookedAt:
    """How many tokens of the text itself say anything: neither blank, nor the one for what the vocabulary lacks; and
    the words half of whose characters are such ones, or take several tokens, which are their bytes.
    """
    encoded = tokenizer.encode(text, add_special_tokens=False)
    unknown = {tokenizer.token_to_id(name) for name in ("<unk>", "[UNK]")}
    pairs = zip(encoded.ids, encoded.tokens, strict=True)  # a piece that is unknown keeps its letters among the tokens
    known = sum(1 for number, token in pairs if number not in unknown and token.strip("▁ Ġ"))
    tokens = zip(encoded.offsets, encoded.tokens, strict=True)
    spans = [span for span, token in tokens if span[0] < span[1] and token.strip("▁ Ġ")]
    numbered = zip(encoded.offsets, encoded.ids, strict=True)
    lost = {place for span, number in numbered if number in unknown for place in range(*span)}
    lost |= {start for (start, end), other in pairwise(spans) if end - start == 1 and (start, end) == other}
    words = (match for match in re.finditer(r"\w+|[^\w\s]+", text) if lost)
    broken = (match.group() for match in words if 2 * len(lost & set(range(*match.span()))) >= len(match.group()))
    return {"known": known, "broken": tuple(dict.fromkeys(broken))}


def _open(path: Path, base_model: BaseModel) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for a bad file
        fault = Fault(str(path), "", f"is not a tokenizer file ({error})", base_model.how_to_get)
        raise BaseModelError(fault) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def open_counter(base_model: BaseModel, folder: Path) -> TokenCounter:
    """The counter for a base model whose files are in `folder`; raises BaseModelError.

    FLUX.1's CLIP tokenizer comes as `vocab.json` and `merges.txt`, which are read into the same library when there is
    no `tokenizer.json`.
    """
    if isinstance(base_model, QwenModel):
        return _open_chat(base_model, folder)
    assert isinstance(base_model, Flux1Model)
    t5 = _open(folder / base_model.t5_tokenizer / "tokenizer.json", base_model)
    clip_folder = folder / base_model.clip_tokenizer
    clip_file = clip_folder / "tokenizer.json"
    clip = _open(clip_file, base_model) if clip_file.is_file() else _slow_clip(clip_folder, base_model)
    return TokenizerPair(t5, clip, base_model)


def _open_chat(base_model: QwenModel, folder: Path) -> ChatTokenizer:
    """The tokenizer as mflux loads it, with the values that it gives to the template."""
    from mflux.models.common.tokenizer import TokenizerLoader

    from sq_pipeline.engines.mflux.families import FAMILIES

    (definition,) = FAMILIES[base_model.family].weight_definition.get_tokenizers()
    try:
        tokenizer = TokenizerLoader.load(definition, str(folder)).tokenizer
        counter = ChatTokenizer(tokenizer, definition.chat_template_kwargs or {}, base_model.token_budget)
        counter.count_tokens("")  # a tokenizer without a chat template shows here
    except (OSError, ValueError) as error:
        problem = f"is not a Qwen3 tokenizer with a chat template ({str(error).splitlines()[0]})"
        raise BaseModelError(Fault(str(folder / "tokenizer"), "", problem, base_model.how_to_get)) from error
    return counter


def _slow_clip(folder: Path, base_model: BaseModel) -> Tokenizer:
    from transformers import CLIPTokenizerFast

    try:
        fast = CLIPTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        fault = Fault(str(folder), "", f"is not a CLIP tokenizer ({error})", base_model.how_to_get)
        raise BaseModelError(fault) from error
    tokenizer = fast.backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
