"""Counting tokens with a base model's own tokenizer files, through the `tokenizers` library. Loads no weights."""

from pathlib import Path

from tokenizers import Tokenizer

from sq_pipeline.core.base_models import BaseModel
from sq_pipeline.core.errors import BaseModelError, Fault
from sq_pipeline.core.protocols import TokenCounts


class TokenizerPair:
    """A T5 and a CLIP tokenizer with the budgets of their base model."""

    def __init__(self, t5: Tokenizer, clip: Tokenizer, base_model: BaseModel) -> None:
        self._t5, self._clip, self._base_model = t5, clip, base_model

    def count_tokens(self, text: str) -> TokenCounts:
        """Tokens of `text` with the marks that each tokenizer adds, untruncated."""
        return TokenCounts(
            t5=len(self._t5.encode(text).ids),
            clip=len(self._clip.encode(text).ids),
            t5_budget=self._base_model.t5_token_budget,
            clip_budget=self._base_model.clip_token_budget,
        )


def _open(path: Path, base_model: BaseModel) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for a bad file
        fault = Fault(str(path), "", f"is not a tokenizer file ({error})", base_model.how_to_get)
        raise BaseModelError(fault) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def open_counter(base_model: BaseModel, folder: Path) -> TokenizerPair:
    """The counter for a base model whose files are in `folder`; raises BaseModelError.

    tiny-flux has one tokenizer for both. FLUX.1's CLIP tokenizer comes as `vocab.json` and `merges.txt`,
    which are read into the same library when there is no `tokenizer.json`.
    """
    if base_model.name == "tiny-flux":
        tokenizer = _open(folder / "tokenizer.json", base_model)
        return TokenizerPair(tokenizer, tokenizer, base_model)
    t5 = _open(folder / "tokenizer_2" / "tokenizer.json", base_model)
    clip_file = folder / "tokenizer" / "tokenizer.json"
    clip = _open(clip_file, base_model) if clip_file.is_file() else _slow_clip(folder / "tokenizer", base_model)
    return TokenizerPair(t5, clip, base_model)


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
